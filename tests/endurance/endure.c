/* SPDX-License-Identifier: Apache-2.0
 * Threads that open, use and close collections all the time, while a timer interrupts every call.
 *
 *   endure THREADS SECONDS
 *
 * Prints how many collections there were. Status: 0, or 1 where something failed that may not, or
 * where descriptors or memory were left behind. What the threads do to each other's memory, the
 * sanitizers tell that it is built with. */
#include "kperf_core.h"
#include "perf_abi.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 64, MOST_CPUS = 1024, SW_CPU_CLOCK = 0, SW_TASK_CLOCK = 1, SW_DUMMY = 9 };

static int32_t all_cpus[MOST_CPUS];
static uint32_t n_cpus;
static atomic_ulong collections, failures, samples_taken;
static struct timespec deadline;

static void complain(const char *what)
{
    const struct kp_error *last = kp_last_error();
    fprintf(stderr, "%s: %d: %s\n", what, last->code, last->message);
    atomic_fetch_add(&failures, 1);
}

static int is_over(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > deadline.tv_sec ||
           (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
}

static void spin(void)
{
    volatile unsigned sum = 0;
    for (unsigned i = 0; i < 200000; i++)
        sum += i;
}

static struct kp_target own_thread(int32_t *tid)
{
    *tid = (int32_t)syscall(SYS_gettid);
    return (struct kp_target){.tids = tid, .n_tids = 1, .cgroup_fd = -1};
}

static struct kp_event software(uint64_t config)
{
    return (struct kp_event){.type = KP_TYPE_SOFTWARE, .config = config};
}

static void count(void)
{
    int32_t tid;
    struct kp_target target = own_thread(&tid);
    struct kp_event event = software(SW_TASK_CLOCK);
    struct kp_session *session = NULL;
    struct kp_counts *counts = NULL;
    event.leader = 0;
    if (kp_session_create(&event, 1, &target, 0, &session) != 0) {
        complain("kp_session_create");
        kp_session_destroy(session);
        return;
    }
    int rc = kp_session_enable(session);
    spin();
    if (rc != 0 || kp_session_read(session, &counts) != 0 || kp_session_disable(session) != 0)
        complain("counting");
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

static int read_once(struct kp_sampler *sampler)
{
    struct kp_samples *samples = NULL;
    struct kp_hot_row *rows = NULL;
    size_t n;
    int rc = kp_sampler_read(sampler, &samples);
    if (rc != 0)
        return rc;
    rc = kp_samples_hot(samples, KP_HOT_FRAME | KP_HOT_TID, &rows, &n);
    if (rc == 0)
        kp_hot_destroy(rows);
    atomic_fetch_add(&samples_taken, samples->len);
    kp_samples_destroy(samples);
    return rc;
}

static void sample(void)
{
    int32_t tid;
    struct kp_target target = own_thread(&tid);
    struct kp_event events[2] = {software(SW_DUMMY), software(SW_CPU_CLOCK)};
    struct kp_sampling sampling = {
        .flags = KP_SAMPLING_CALLCHAIN, .ring_bytes = 1 << 16, .store_bytes = 1 << 22};
    struct kp_sampler *sampler = NULL;
    events[0].flags = KP_EVENT_TRACKING;
    events[0].leader = 0;
    events[1].period = 100000;
    events[1].leader = 1;
    for (int i = 0; i < 2; i++) {
        events[i].cpus = all_cpus;
        events[i].n_cpus = n_cpus;
    }
    if (kp_sampler_create(events, 2, &target, &sampling, KP_INHERIT, &sampler) != 0) {
        complain("kp_sampler_create");
        kp_sampler_destroy(sampler);
        return;
    }
    int rc = kp_sampler_enable(sampler);
    spin();
    rc = rc != 0 ? rc : read_once(sampler);
    spin();
    if (rc != 0 || kp_sampler_disable(sampler) != 0 || read_once(sampler) != 0)
        complain("sampling");
    kp_sampler_destroy(sampler);
}

static void *work(void *unused)
{
    for (unsigned i = 0; !is_over() && atomic_load(&failures) == 0; i++) {
        if (i % 3 == 0)
            count();
        else
            sample();
        atomic_fetch_add(&collections, 1);
    }
    return unused;
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

static void nothing(int number)
{
    (void)number;
}

static void interrupt_everything(void)
{
    struct sigaction action = {.sa_handler = nothing}; /* without SA_RESTART */
    struct itimerval often = {{.tv_usec = 1000}, {.tv_usec = 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

int main(int argc, char **argv)
{
    pthread_t threads[MOST_THREADS];
    int n = argc > 1 ? atoi(argv[1]) : 16, seconds = argc > 2 ? atoi(argv[2]) : 5;
    n = n < MOST_THREADS ? n : MOST_THREADS;
    n_cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    n_cpus = n_cpus < MOST_CPUS ? n_cpus : MOST_CPUS;
    for (uint32_t cpu = 0; cpu < n_cpus; cpu++)
        all_cpus[cpu] = (int32_t)cpu;
    sample();
    int before = open_descriptors();
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    interrupt_everything();
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            return 1;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    int left = open_descriptors() - before;
    printf("%lu collections, %lu samples, %d descriptors left, %lu failures\n",
           atomic_load(&collections), atomic_load(&samples_taken), left, atomic_load(&failures));
    return left != 0 || atomic_load(&failures) != 0;
}
