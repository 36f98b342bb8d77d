/* SPDX-License-Identifier: Apache-2.0
 * Which threads were born and ended while a session attaches: FORK and EXIT records from dummy
 * events, one ring a CPU. */
#include "watch.h"

#include "descriptors.h"
#include "error.h"
#include "perf_abi.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct kp_watch {
    struct kp_ring *rings; /* one a CPU number; without memory where nothing is opened */
    int *fds;              /* the events whose records go into another event's ring */
    struct kp_fork *forks;
    size_t n_rings, n_fds, n_forks, fds_room, forks_room;
    uint64_t lost;
    int by_task;
    int failed;
};

enum {
    KIB = 1024,
    TASK_RING = 256 * KIB,        /* a CPU, for the threads of a few processes */
    LARGEST_RING = 2 * KIB * KIB, /* a CPU, for those of all processes, */
    SMALLEST_RING = 64 * KIB,
    ALL_RINGS = 64 * KIB * KIB /* and for all CPUs together */
};

static int open_dummy(int32_t pid, int32_t cpu)
{
    struct kp_attr attr = kp_dummy_attr();
    attr.flags |= KP_ATTR_TASK | KP_ATTR_USE_CLOCKID;
    attr.clockid = CLOCK_MONOTONIC;
    if (pid >= 0)
        attr.flags |= KP_ATTR_INHERIT;
    return kp_perf_event_open(&attr, pid, cpu, -1, KP_OPEN_CLOEXEC);
}

static int take_ring(struct kp_ring *ring, int fd, size_t bytes)
{
    int rc = kp_ring_create(fd, bytes, ring);
    if (rc != 0)
        close(fd);
    return rc;
}

static int cannot_watch(const struct kp_watch *watch, int failure, int32_t cpu, int32_t tid)
{
    if (failure == EMFILE || failure == ENFILE)
        return kp_descriptors_exhausted(failure, watch->n_fds + watch->n_rings);
    return kp_fail_at(KP_E_SYSTEM, failure, -1, cpu, tid, "cannot watch for new threads");
}

static int watch_every_process(struct kp_watch *watch, size_t ring_bytes)
{
    int rc = kp_descriptors_reserve(watch->n_rings);
    for (size_t cpu = 0; rc == 0 && cpu < watch->n_rings; cpu++) {
        int fd = open_dummy(-1, (int32_t)cpu);
        if (fd >= 0)
            rc = take_ring(&watch->rings[cpu], fd, ring_bytes);
        else if (errno == EACCES || errno == EPERM)
            watch->by_task = 1;
        else if (errno != ENODEV) /* offline */
            rc = cannot_watch(watch, errno, (int32_t)cpu, -1);
        if (watch->by_task)
            break;
    }
    return rc;
}

static void close_rings(struct kp_watch *watch)
{
    for (size_t i = 0; i < watch->n_rings; i++)
        kp_ring_destroy(&watch->rings[i]);
}

/* The first rings may take all the memory that this user may lock. */
static int watch_with_room_for_all(struct kp_watch *watch)
{
    size_t bytes = ALL_RINGS / watch->n_rings;
    if (bytes > LARGEST_RING)
        bytes = LARGEST_RING;
    int rc;
    while ((rc = watch_every_process(watch, bytes)) == KP_E_MMAP && bytes > SMALLEST_RING) {
        close_rings(watch);
        bytes /= 4;
    }
    return rc;
}

/* One more than the highest number that a CPU may have; numbers may have gaps. */
static size_t cpu_numbers(void)
{
    char text[1024];
    long last = sysconf(_SC_NPROCESSORS_CONF) - 1;
    int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        text[n] = '\0';
        const char *range = strrchr(text, ','), *end = strrchr(text, '-');
        range = range == NULL ? text : range + 1;
        last = atol(end != NULL && end > range ? end + 1 : range);
    }
    return last < 0 ? 1 : (size_t)last + 1;
}

int kp_watch_create(struct kp_watch **out)
{
    struct kp_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
    watch->n_rings = cpu_numbers();
    watch->rings = calloc(watch->n_rings, sizeof(*watch->rings));
    if (watch->rings == NULL) {
        free(watch);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
    }
    int rc = watch_with_room_for_all(watch);
    if (rc != 0) {
        kp_watch_destroy(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

void kp_watch_destroy(struct kp_watch *watch)
{
    if (watch == NULL)
        return;
    for (size_t i = 0; i < watch->n_fds; i++)
        close(watch->fds[i]);
    close_rings(watch);
    free(watch->rings);
    free(watch->fds);
    free(watch->forks);
    free(watch);
}

static int keep_fd(struct kp_watch *watch, int fd)
{
    if (watch->n_fds == watch->fds_room) {
        size_t room = watch->fds_room ? watch->fds_room * 2 : 64;
        int *fds = realloc(watch->fds, room * sizeof(*fds));
        if (fds == NULL)
            return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
        watch->fds = fds;
        watch->fds_room = room;
    }
    watch->fds[watch->n_fds++] = fd;
    return 0;
}

/* A ring needs an event on one CPU when children inherit it, so a task is watched on each CPU. */
static int watch_task_on(struct kp_watch *watch, int32_t tid, int32_t cpu)
{
    struct kp_ring *ring = &watch->rings[cpu];
    int fd = open_dummy(tid, cpu);
    if (fd < 0)
        return errno == ENODEV || errno == ESRCH ? 0 : cannot_watch(watch, errno, cpu, tid);
    if (ring->base == NULL)
        return take_ring(ring, fd, TASK_RING);
    int rc = kp_ring_join(ring, fd);
    if (rc == 0)
        rc = keep_fd(watch, fd);
    if (rc != 0)
        close(fd);
    return rc;
}

int kp_watch_add(struct kp_watch *watch, int32_t tid)
{
    int rc = 0;
    if (!watch->by_task)
        return 0;
    for (size_t cpu = 0; rc == 0 && cpu < watch->n_rings; cpu++)
        rc = watch_task_on(watch, tid, (int32_t)cpu);
    return rc;
}

uint64_t kp_watch_cost(const struct kp_watch *watch)
{
    return watch->by_task ? (uint64_t)sysconf(_SC_NPROCESSORS_ONLN) : 0;
}

static void keep_fork(struct kp_watch *watch, struct kp_fork fork)
{
    if (watch->n_forks == watch->forks_room) {
        size_t room = watch->forks_room ? watch->forks_room * 2 : 256;
        struct kp_fork *forks = realloc(watch->forks, room * sizeof(*forks));
        if (forks == NULL) {
            watch->failed = 1;
            return;
        }
        watch->forks = forks;
        watch->forks_room = room;
    }
    watch->forks[watch->n_forks++] = fork;
}

/* A new process has a pid of its own: no thread of the one that made it. Numbers are 0 for what
 * lives in another namespace. */
static void take_task(struct kp_watch *watch, const struct kp_record_fork *record)
{
    struct kp_fork fork = {.time = record->time, .tid = (int32_t)record->tid};
    if (record->header.type == KP_RECORD_FORK) {
        fork.ptid = (int32_t)record->ptid;
        if (record->pid != record->ppid || fork.ptid <= 0)
            return;
    }
    if (fork.tid > 0)
        keep_fork(watch, fork);
}

static void take_record(void *context, const uint8_t *bytes, size_t size)
{
    struct kp_watch *watch = context;
    struct kp_record_header header;
    memcpy(&header, bytes, sizeof(header));
    if ((header.type == KP_RECORD_FORK || header.type == KP_RECORD_EXIT) &&
        size >= sizeof(struct kp_record_fork)) {
        struct kp_record_fork record;
        memcpy(&record, bytes, sizeof(record));
        take_task(watch, &record);
    } else if (header.type == KP_RECORD_LOST && size >= sizeof(struct kp_record_lost)) {
        struct kp_record_lost record;
        memcpy(&record, bytes, sizeof(record));
        watch->lost += record.lost;
    }
}

static int by_time(const void *left, const void *right)
{
    const struct kp_fork *a = left, *b = right;
    return (a->time > b->time) - (a->time < b->time);
}

int kp_watch_pull(struct kp_watch *watch)
{
    for (size_t i = 0; i < watch->n_rings; i++)
        kp_ring_drain(&watch->rings[i], take_record, watch);
    return watch->failed ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of new threads") : 0;
}

int kp_watch_drain(struct kp_watch *watch, const struct kp_fork **forks, size_t *n)
{
    int rc = kp_watch_pull(watch);
    if (rc != 0)
        return rc;
    if (watch->n_forks > 0)
        qsort(watch->forks, watch->n_forks, sizeof(*watch->forks), by_time);
    *forks = watch->forks;
    *n = watch->n_forks;
    return 0;
}

uint64_t kp_watch_lost(const struct kp_watch *watch)
{
    return watch->lost;
}
