/* SPDX-License-Identifier: Apache-2.0
 * The thread that empties the rings: epoll on their watermarks. */
#include "drain.h"

#include "descriptors.h"
#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAKE = -1, MOST_READY = 64, EAGER = -15 };

/* ---- the thread ---- */

static void drain_ready(struct kp_drain *drain, const struct epoll_event *ready, int n)
{
    pthread_mutex_lock(&drain->lock);
    for (int i = 0; i < n; i++) {
        int32_t cpu = (int32_t)ready[i].data.u64;
        if (cpu == WAKE) {
            uint64_t count;
            (void)!read(drain->wake, &count, sizeof(count));
            continue;
        }
        struct kp_ring *ring = &drain->rings[cpu];
        if (drain->round == NULL)
            kp_ring_drain(ring, drain->take, drain->context);
        /* A dead event says so for ever: what its ring still holds is read at the end. */
        if (ready[i].events & (EPOLLHUP | EPOLLERR))
            epoll_ctl(drain->epoll, EPOLL_CTL_DEL, ring->fd, NULL);
    }
    if (drain->round != NULL)
        drain->round(drain->context);
    pthread_mutex_unlock(&drain->lock);
}

static int has_work(struct kp_drain *drain, int *stop)
{
    pthread_mutex_lock(&drain->lock);
    int working = drain->working && drain->work != NULL;
    *stop = drain->stop;
    pthread_mutex_unlock(&drain->lock);
    return working;
}

static void work_once(struct kp_drain *drain)
{
    if (drain->work(drain->context) == 1)
        return;
    pthread_mutex_lock(&drain->lock);
    drain->working = 0;
    pthread_cond_broadcast(&drain->changed);
    pthread_mutex_unlock(&drain->lock);
}

static void *run(void *argument)
{
    struct kp_drain *drain = argument;
    struct epoll_event ready[MOST_READY];
    /* Before the programs it records, where that is permitted: a full ring does not wait. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), EAGER);
    pthread_mutex_lock(&drain->lock);
    drain->tid = (pid_t)syscall(SYS_gettid);
    pthread_cond_broadcast(&drain->changed);
    pthread_mutex_unlock(&drain->lock);
    for (int stop = 0; !stop;) {
        int working = has_work(drain, &stop);
        if (stop)
            break;
        int n = epoll_wait(drain->epoll, ready, MOST_READY, working ? 0 : -1);
        if (n > 0)
            drain_ready(drain, ready, n);
        if (working)
            work_once(drain);
    }
    return NULL;
}

/* ---- starting and ending ---- */

static int watch(struct kp_drain *drain, int fd, int64_t cpu)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)cpu};
    if (epoll_ctl(drain->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return kp_fail(KP_E_SYSTEM, errno, "cannot wait for a ring buffer");
    return 0;
}

/* The thread takes no signal: they are the host program's. */
static int start_thread(struct kp_drain *drain)
{
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int failure = pthread_create(&drain->thread, NULL, run, drain);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (failure != 0)
        return kp_fail(KP_E_SYSTEM, failure, "cannot start the drain thread");
    pthread_mutex_lock(&drain->lock);
    while (drain->tid == 0)
        pthread_cond_wait(&drain->changed, &drain->lock);
    pthread_mutex_unlock(&drain->lock);
    return 0;
}

static void free_parts(struct kp_drain *drain)
{
    for (size_t i = 0; i < drain->n_rings; i++)
        kp_ring_destroy(&drain->rings[i]);
    free(drain->rings);
    if (drain->epoll >= 0)
        close(drain->epoll);
    if (drain->wake >= 0)
        close(drain->wake);
    pthread_mutex_destroy(&drain->lock);
    pthread_cond_destroy(&drain->changed);
    memset(drain, 0, sizeof(*drain));
}

int kp_drain_start(struct kp_drain *drain, size_t n_rings, kp_record_fn *take,
                   int (*work)(void *context), void *context)
{
    *drain = (struct kp_drain){.take = take, .work = work, .context = context};
    pthread_mutex_init(&drain->lock, NULL);
    pthread_cond_init(&drain->changed, NULL);
    drain->epoll = epoll_create1(EPOLL_CLOEXEC);
    drain->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    drain->rings = calloc(n_rings, sizeof(*drain->rings));
    drain->n_rings = drain->rings == NULL ? 0 : n_rings;
    int rc = 0;
    if (drain->epoll < 0 || drain->wake < 0)
        rc = kp_fail(KP_E_SYSTEM, errno, "cannot make the drain thread's descriptors");
    else if (drain->rings == NULL)
        rc = kp_fail(KP_E_NOMEM, ENOMEM, "no memory for ring buffers");
    if (rc == 0)
        rc = watch(drain, drain->wake, WAKE);
    if (rc == 0)
        rc = start_thread(drain);
    if (rc != 0)
        free_parts(drain);
    return rc;
}

static void wake(struct kp_drain *drain)
{
    uint64_t one = 1;
    (void)!write(drain->wake, &one, sizeof(one));
}

void kp_drain_stop(struct kp_drain *drain)
{
    if (drain->tid == 0)
        return;
    pthread_mutex_lock(&drain->lock);
    drain->stop = 1;
    pthread_mutex_unlock(&drain->lock);
    wake(drain);
    pthread_join(drain->thread, NULL);
    free_parts(drain);
}

void kp_drain_abandon(struct kp_drain *drain)
{
    for (size_t i = 0; i < drain->n_rings; i++)
        if (drain->rings[i].base != NULL)
            close(drain->rings[i].fd);
    close(drain->epoll);
    close(drain->wake);
}

/* ---- rings ---- */

/* A ring outlives the tasks that write to it: its owner is an event on the drain thread itself. */
static int open_owner(const struct kp_drain *drain, int32_t cpu, size_t bytes)
{
    struct kp_attr attr = {
        .type = KP_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = KP_SW_DUMMY,
        .sample_type = KP_SAMPLE_IDENTIFIER | KP_SAMPLE_TIME,
        .flags = KP_ATTR_DISABLED | KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV | KP_ATTR_WATERMARK,
        .wakeup = (uint32_t)(drain->wake_bytes > 0 ? drain->wake_bytes : bytes / 4),
    };
    if (!drain->perf_clock) { /* all that write into one ring have one clock */
        attr.flags |= KP_ATTR_USE_CLOCKID;
        attr.clockid = CLOCK_MONOTONIC;
    }
    return kp_perf_event_open(&attr, drain->tid, cpu, -1, KP_OPEN_CLOEXEC);
}

int kp_drain_ring(struct kp_drain *drain, int32_t cpu, size_t bytes, struct kp_ring **out)
{
    if (cpu < 0 || (size_t)cpu >= drain->n_rings)
        return kp_fail(KP_E_ARGUMENT, 0, "no ring for CPU %d", cpu);
    struct kp_ring *ring = &drain->rings[cpu];
    *out = ring;
    if (ring->base != NULL)
        return 0;
    int fd = open_owner(drain, cpu, bytes);
    if (fd < 0)
        return kp_fail_at(KP_E_SYSTEM, errno, -1, cpu, -1, "cannot open a ring buffer");
    struct kp_ring mapped;
    int rc = kp_ring_create(fd, bytes, &mapped);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    pthread_mutex_lock(&drain->lock);
    *ring = mapped;
    pthread_mutex_unlock(&drain->lock);
    return watch(drain, fd, cpu);
}

/* A CPU whose ring cannot be opened is passed over: who opens an event there says why. */
static int map_all(struct kp_drain *drain, const int32_t *cpus, size_t n, size_t bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (cpus[i] < 0 || (size_t)cpus[i] >= drain->n_rings || drain->rings[cpus[i]].base != NULL)
            continue;
        int fd = open_owner(drain, cpus[i], bytes);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            return kp_descriptors_exhausted(errno, n);
        if (fd < 0)
            continue;
        int rc = kp_ring_create_whole(fd, bytes, &drain->rings[cpus[i]]);
        if (rc != 0) {
            close(fd);
            return rc;
        }
    }
    return 0;
}

int kp_drain_rings(struct kp_drain *drain, const int32_t *cpus, size_t n, size_t bytes)
{
    size_t page = kp_ring_size(1);
    int rc = 0;
    pthread_mutex_lock(&drain->lock);
    for (size_t size = kp_ring_size(bytes); (rc = map_all(drain, cpus, n, size)) != 0; size /= 2) {
        for (size_t i = 0; i < drain->n_rings; i++)
            kp_ring_destroy(&drain->rings[i]);
        if (rc != KP_E_MMAP || size == page)
            break;
    }
    for (size_t cpu = 0; rc == 0 && cpu < drain->n_rings; cpu++)
        if (drain->rings[cpu].base != NULL)
            rc = watch(drain, drain->rings[cpu].fd, (int64_t)cpu);
    pthread_mutex_unlock(&drain->lock);
    return rc;
}

void kp_drain_in_rounds(struct kp_drain *drain, void (*round)(void *context))
{
    pthread_mutex_lock(&drain->lock);
    drain->round = round;
    pthread_mutex_unlock(&drain->lock);
}

void kp_drain_all(struct kp_drain *drain)
{
    if (drain->round != NULL) {
        drain->round(drain->context);
        return;
    }
    for (size_t i = 0; i < drain->n_rings; i++)
        kp_ring_drain(&drain->rings[i], drain->take, drain->context);
}

/* ---- work ---- */

void kp_drain_begin_work(struct kp_drain *drain)
{
    pthread_mutex_lock(&drain->lock);
    drain->working = 1;
    pthread_mutex_unlock(&drain->lock);
    wake(drain);
}

void kp_drain_finish_work(struct kp_drain *drain)
{
    pthread_mutex_lock(&drain->lock);
    while (drain->working)
        pthread_cond_wait(&drain->changed, &drain->lock);
    pthread_mutex_unlock(&drain->lock);
}
