/* SPDX-License-Identifier: Apache-2.0
 * Sessions over CPUs, threads and processes: what is counted, and in which rows. */
#include "check.h"
#include "session.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NO_SUCH_PMU = 0x7fffff00, MOST_MEMBERS = 256 };

static volatile uint64_t word __attribute__((aligned(8)));

/* ---- one thread ---- */

TEST(session_counts_exactly)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    store(&word, 5);
    CHECK_OK(kp_session_enable(session));
    store(&word, 1000);
    CHECK_OK(kp_session_disable(session));
    store(&word, 7);
    CHECK_EQ(read_sum(session, 0), 1000);
    kp_session_destroy(session);
}

TEST(session_row_of_a_thread)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    CHECK_EQ(prctl(PR_SET_NAME, "a name"), 0);
    CHECK_OK(kp_session_enable(session));
    store(&word, 3);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 1);
    CHECK_EQ(counts->event[0], 0);
    CHECK_EQ(counts->cpu[0], -1);
    CHECK_EQ(counts->pid[0], getpid());
    CHECK_EQ(counts->tid[0], own_tid());
    CHECK_EQ(counts->state[0], KP_COUNTED);
    CHECK_EQ(counts->count[0], 3);
    CHECK_EQ(counts->value[0], 3);
    CHECK(counts->enabled[0] > 0 && counts->running[0] > 0);
    CHECK(counts->running[0] <= counts->enabled[0]);
    char padded[16] = "a name";
    CHECK_EQ(memcmp(counts->comm, padded, sizeof(padded)), 0);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(session_of_both_windows)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(kp_session_enable(session));
        store(&word, 10);
        CHECK_OK(kp_session_disable(session));
        store(&word, 100);
    }
    CHECK_EQ(read_sum(session, 0), 20);
    kp_session_destroy(session);
}

TEST(session_since_the_last_read)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    CHECK_OK(kp_session_enable(session));
    uint64_t enabled = 0;
    for (int i = 1; i < 5; i++) {
        store(&word, i);
        struct kp_counts *counts = read_all(session);
        CHECK_EQ(counts->value[0], i);
        enabled += counts->enabled[0];
        kp_counts_destroy(counts);
    }
    CHECK_OK(kp_session_disable(session));
    struct kp_counts *rest = read_all(session);
    CHECK_EQ(rest->value[0], 0);
    CHECK(enabled > 0 && rest->enabled[0] < enabled);
    kp_counts_destroy(rest);
    kp_session_destroy(session);
}

/* The kernel's sums over threads on other CPUs may go back for a moment: nothing is taken away, and
 * nothing counted twice when they are past where they were. */
TEST(session_never_counts_backwards)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    CHECK_OK(kp_session_enable(session));
    store(&word, 10);
    CHECK_EQ(read_sum(session, 0), 10);
    session->cells[0].value += 5;
    store(&word, 2);
    CHECK_EQ(read_sum(session, 0), 0);
    store(&word, 7);
    CHECK_EQ(read_sum(session, 0), 4);
    kp_session_destroy(session);
}

static void check_not_counted(struct kp_session *session)
{
    struct kp_counts *counts = read_all(session);
    CHECK(counts->len > 0);
    for (size_t i = 0; i < counts->len; i++) {
        CHECK_EQ(counts->state[i], KP_NOT_COUNTED);
        CHECK_EQ(counts->count[i], 0);
        CHECK_EQ(counts->value[i], 0);
        CHECK_EQ(counts->enabled[i], 0);
        CHECK_EQ(counts->running[i], 0);
    }
    kp_counts_destroy(counts);
}

TEST(session_without_enabled_time)
{
    struct kp_event events[] = {stores_to(&word), software(SW_PAGE_FAULTS)};
    events[1].leader = 1;
    struct kp_session *session = open_own(events, 2, 0);
    store(&word, 3);
    check_not_counted(session);
    CHECK_OK(kp_session_enable(session));
    store(&word, 4);
    CHECK_OK(kp_session_disable(session));
    kp_counts_destroy(read_all(session));
    store(&word, 5);
    check_not_counted(session);
    kp_session_destroy(session);
}

TEST(session_of_software_events)
{
    enum { CLOCK, FAULTS, SWITCHES, DUMMY, N };
    struct kp_event events[N] = {software(SW_TASK_CLOCK), software(SW_PAGE_FAULTS),
                                 software(SW_CONTEXT_SWITCHES), software(KP_SW_DUMMY)};
    for (uint32_t i = 0; i < N; i++)
        events[i].leader = i;
    struct kp_session *session = open_own(events, N, 0);
    CHECK_OK(kp_session_enable(session));
    touch_pages(100);
    for (int i = 0; i < 5; i++)
        usleep(1000);
    CHECK_OK(kp_session_disable(session));
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, N);
    CHECK(sum_of(counts, FAULTS) >= 100);
    CHECK(sum_of(counts, SWITCHES) >= 5);
    CHECK_EQ(sum_of(counts, DUMMY), 0);
    CHECK(sum_of(counts, CLOCK) > 0);
    /* It counts the nanoseconds in which it runs. */
    CHECK(sum_of(counts, CLOCK) <= counts->running[CLOCK] + 1000000);
    for (size_t i = 0; i < counts->len; i++)
        CHECK_EQ(counts->state[i], KP_COUNTED);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(session_of_a_tracepoint)
{
    need_privilege();
    struct kp_event event = tracepoint("syscalls/sys_enter_getppid");
    struct kp_session *session = open_own(&event, 1, 0);
    CHECK_OK(kp_session_enable(session));
    for (int i = 0; i < 321; i++)
        syscall(SYS_getppid);
    CHECK_OK(kp_session_disable(session));
    CHECK_EQ(read_sum(session, 0), 321);
    kp_session_destroy(session);
}

/* ---- groups ---- */

TEST(session_of_a_group)
{
    struct kp_event events[] = {software(SW_PAGE_FAULTS), stores_to(&word), software(KP_SW_DUMMY)};
    struct kp_session *session = open_own(events, 3, 0);
    CHECK_OK(kp_session_enable(session));
    touch_pages(10);
    store(&word, 50);
    struct kp_counts *counts = read_all(session);
    CHECK(sum_of(counts, 0) >= 10);
    CHECK_EQ(sum_of(counts, 1), 50);
    CHECK_EQ(sum_of(counts, 2), 0);
    for (size_t i = 1; i < 3; i++) { /* read in one instant */
        CHECK_EQ(counts->enabled[i], counts->enabled[0]);
        CHECK_EQ(counts->running[i], counts->running[0]);
    }
    kp_counts_destroy(counts);
    store(&word, 8);
    CHECK_EQ(read_sum(session, 1), 8);
    kp_session_destroy(session);
}

TEST(session_of_groups_and_lone_events)
{
    struct kp_event events[] = {stores_to(&word), software(KP_SW_DUMMY), stores_to(&word),
                                software(SW_PAGE_FAULTS), stores_to(&word)};
    const uint32_t leaders[] = {0, 1, 1, 3, 3};
    for (size_t i = 0; i < 5; i++)
        events[i].leader = leaders[i];
    struct kp_session *session = open_own(events, 5, KP_INHERIT);
    CHECK_OK(kp_session_enable(session));
    store(&word, 6);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 5);
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(counts->event[i], i);
    CHECK_EQ(sum_of(counts, 0), 6);
    CHECK_EQ(sum_of(counts, 2), 6);
    CHECK_EQ(sum_of(counts, 4), 6);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(session_of_the_largest_group)
{
    static struct kp_event events[MOST_MEMBERS];
    for (int i = 0; i < MOST_MEMBERS; i++)
        events[i] = software(i == MOST_MEMBERS - 1 ? SW_PAGE_FAULTS : KP_SW_DUMMY);
    struct kp_session *session = open_own(events, MOST_MEMBERS, 0);
    CHECK_OK(kp_session_enable(session));
    touch_pages(20);
    CHECK(read_sum(session, MOST_MEMBERS - 1) >= 20);
    kp_session_destroy(session);
}

TEST(session_of_a_group_whose_leader_is_missing)
{
    struct kp_event events[] = {
        {.type = NO_SUCH_PMU}, stores_to(&word), {.type = NO_SUCH_PMU}, stores_to(&word)};
    struct kp_session *session = open_own(events, 4, KP_KEEP_UNSUPPORTED);
    CHECK_OK(kp_session_enable(session));
    store(&word, 9);
    CHECK_OK(kp_session_disable(session));
    store(&word, 9);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->state[0], KP_NOT_SUPPORTED);
    CHECK_EQ(counts->state[2], KP_NOT_SUPPORTED);
    CHECK_EQ(counts->count[0], 0);
    CHECK_EQ(sum_of(counts, 1), 9);
    CHECK_EQ(sum_of(counts, 3), 9);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

/* ---- CPUs ---- */

static size_t online_cpus(int32_t *cpus, size_t room)
{
    size_t n = (size_t)sysconf(_SC_NPROCESSORS_ONLN), found = 0;
    for (int32_t cpu = 0; found < n && found < room; cpu++) {
        struct kp_event event = software(KP_SW_DUMMY);
        event.cpus = &cpu;
        event.n_cpus = 1;
        if (kp_event_probe(&event) == 0)
            cpus[found++] = cpu;
    }
    return found;
}

TEST(session_of_everybody)
{
    int32_t cpus[64];
    need_privilege();
    struct kp_event event = software(SW_CONTEXT_SWITCHES);
    event.cpus = cpus;
    event.n_cpus = (uint32_t)online_cpus(cpus, 64);
    struct kp_target target = everybody();
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, &target, 0, &session));
    CHECK_OK(kp_session_enable(session));
    usleep(2000);
    CHECK_OK(kp_session_disable(session));
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, event.n_cpus);
    for (size_t i = 0; i < counts->len; i++) {
        CHECK_EQ(counts->cpu[i], cpus[i]);
        CHECK(counts->pid[i] == -1 && counts->tid[i] == -1);
        CHECK_EQ(counts->comm[16 * i], 0);
        CHECK_EQ(counts->state[i], KP_COUNTED);
    }
    CHECK(sum_of(counts, 0) >= 1);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(session_of_a_thread_by_cpu)
{
    int32_t cpus[64];
    struct kp_event events[] = {stores_to(&word), software(KP_SW_DUMMY), stores_to(&word)};
    for (size_t i = 0; i < 2; i++) {
        events[i].cpus = cpus;
        events[i].n_cpus = (uint32_t)online_cpus(cpus, 64);
    }
    events[2].leader = 2; /* wherever it runs */
    struct kp_session *session = open_own(events, 3, 0);
    CHECK_OK(kp_session_enable(session));
    store(&word, 500);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 2 * events[0].n_cpus + 1);
    CHECK_EQ(sum_of(counts, 0), 500);
    CHECK_EQ(sum_of(counts, 2), 500);
    for (size_t i = 0; i < counts->len; i++)
        CHECK(counts->tid[i] == own_tid());
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

/* The root of the hierarchy that perf events know: cgroup2, or their own of version 1. */
static int perf_cgroup(void)
{
    static const char *const roots[] = {"/sys/fs/cgroup/cgroup.procs",
                                        "/sys/fs/cgroup/unified/cgroup.procs",
                                        "/sys/fs/cgroup/perf_event/cgroup.procs"};
    char root[64];
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
        if (access(roots[i], F_OK) == 0) {
            snprintf(root, sizeof(root), "%.*s", (int)(strrchr(roots[i], '/') - roots[i]),
                     roots[i]);
            return open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    skip("no cgroup hierarchy that perf events know is mounted");
}

TEST(session_of_a_cgroup)
{
    int32_t cpus[64];
    need_privilege();
    int fd = perf_cgroup();
    struct kp_event event = software(SW_CONTEXT_SWITCHES);
    event.cpus = cpus;
    event.n_cpus = (uint32_t)online_cpus(cpus, 64);
    struct kp_target target = {.cgroup_fd = fd};
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, &target, 0, &session));
    CHECK_OK(kp_session_enable(session));
    usleep(2000);
    CHECK(read_sum(session, 0) >= 1);
    kp_session_destroy(session);
    close(fd);
}

/* ---- threads and processes ---- */

struct worker {
    pthread_t thread;
    _Atomic int32_t tid;
    atomic_int *go;
    int stores;
};

static void *work_when_told(void *context)
{
    struct worker *worker = context;
    prctl(PR_SET_NAME, "worker");
    atomic_store(&worker->tid, own_tid());
    while (atomic_load(worker->go) == 0)
        usleep(100);
    store(&word, worker->stores);
    return NULL;
}

static void start_worker(struct worker *worker, atomic_int *go, int stores)
{
    worker->go = go;
    worker->stores = stores;
    atomic_store(&worker->tid, 0);
    CHECK_EQ(pthread_create(&worker->thread, NULL, work_when_told, worker), 0);
    while (atomic_load(&worker->tid) == 0)
        usleep(100);
}

TEST(session_of_two_threads)
{
    atomic_int go = 0;
    struct worker workers[2];
    for (int i = 0; i < 2; i++)
        start_worker(&workers[i], &go, 10 * (i + 1));
    int32_t tids[] = {workers[0].tid, workers[1].tid};
    struct kp_target target = {.tids = tids, .n_tids = 2, .cgroup_fd = -1};
    struct kp_event event = stores_to(&word);
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, &target, 0, &session));
    CHECK_OK(kp_session_enable(session));
    store(&word, 1000); /* not theirs */
    struct kp_counts *before = read_all(session);
    CHECK_EQ(strcmp(before->comm, "worker"), 0);
    kp_counts_destroy(before);
    atomic_store(&go, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(workers[i].thread, NULL);
    struct kp_counts *counts = read_all(session); /* those who ended keep what they had */
    CHECK_EQ(counts->len, 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(counts->tid[i], tids[i]);
        CHECK_EQ(counts->pid[i], getpid());
        CHECK_EQ(counts->value[i], 10 * (i + 1));
        CHECK_EQ(strcmp(counts->comm + 16 * i, "worker"), 0);
    }
    kp_counts_destroy(counts);
    CHECK_OK(kp_session_disable(session));
    kp_session_destroy(session);
}

static uint64_t count_own_process(uint32_t flags, size_t *rows)
{
    atomic_int go = 0;
    struct worker early, late;
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    struct kp_event event = stores_to(&word);
    struct kp_session *session;
    start_worker(&early, &go, 100);
    CHECK_OK(kp_session_create(&event, 1, &target, flags, &session));
    CHECK_OK(kp_session_enable(session));
    start_worker(&late, &go, 20);
    store(&word, 3);
    atomic_store(&go, 1);
    pthread_join(early.thread, NULL);
    pthread_join(late.thread, NULL);
    struct kp_counts *counts = read_all(session);
    uint64_t sum = sum_of(counts, 0);
    *rows = counts->len;
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    return sum;
}

TEST(session_of_a_process)
{
    size_t rows;
    CHECK_EQ(count_own_process(KP_INHERIT, &rows), 123);
    CHECK_EQ(rows, 2);
}

TEST(session_of_the_threads_there_are)
{
    size_t rows;
    CHECK_EQ(count_own_process(0, &rows), 103);
    CHECK_EQ(rows, 2);
}

static void store_in_child(void *times)
{
    store(&word, *(int *)times);
}

TEST(session_of_children)
{
    int times = 11;
    struct kp_event event = stores_to(&word);
    struct kp_session *with = open_own(&event, 1, KP_INHERIT);
    struct kp_session *without = open_own(&event, 1, 0);
    CHECK_OK(kp_session_enable(with));
    CHECK_OK(kp_session_enable(without));
    CHECK_EQ(in_child(store_in_child, &times), 0);
    store(&word, 2);
    CHECK_EQ(read_sum(with, 0), 13);
    CHECK_EQ(read_sum(without, 0), 2);
    kp_session_destroy(with);
    kp_session_destroy(without);
}

static void *use_elsewhere(void *context)
{
    struct kp_session *session = context;
    CHECK_OK(kp_session_enable(session));
    struct kp_counts *counts = read_all(session);
    kp_counts_destroy(counts);
    CHECK_OK(kp_session_disable(session));
    return NULL;
}

TEST(session_from_another_thread)
{
    pthread_t thread;
    struct kp_event event = stores_to(&word);
    struct kp_session *session = open_own(&event, 1, 0);
    CHECK_EQ(pthread_create(&thread, NULL, use_elsewhere, session), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(kp_session_enable(session));
    store(&word, 4);
    CHECK_EQ(read_sum(session, 0), 4);
    kp_session_destroy(session);
}

/* ---- in a forked child ---- */

static void use_forked(void *context)
{
    struct kp_session *session = context;
    struct kp_counts *counts = NULL;
    int before = open_descriptors();
    CHECK_EQ(kp_session_enable(session), KP_E_FORKED);
    CHECK_EQ(kp_session_disable(session), KP_E_FORKED);
    CHECK_EQ(kp_session_read(session, &counts), KP_E_FORKED);
    CHECK_EQ(kp_last_error()->code, KP_E_FORKED);
    CHECK(counts == NULL);
    kp_session_abandon(session);
    CHECK_EQ(open_descriptors(), before - 2);
    kp_session_abandon(session);
    CHECK_EQ(kp_session_read(session, &counts), KP_E_FORKED);
    kp_session_destroy(session);
    CHECK_EQ(open_descriptors(), before - 2);
}

TEST(session_in_a_forked_child)
{
    struct kp_event events[] = {stores_to(&word), software(SW_PAGE_FAULTS)};
    events[1].leader = 1;
    struct kp_session *session = open_own(events, 2, 0);
    CHECK_OK(kp_session_enable(session));
    store(&word, 1);
    CHECK_EQ(in_child(use_forked, session), 0);
    store(&word, 2);
    CHECK_EQ(read_sum(session, 0), 3); /* the parent's goes on */
    kp_session_destroy(session);
}
