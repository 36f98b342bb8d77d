/* SPDX-License-Identifier: Apache-2.0
 * Who was born while a session attaches: FORK records from dummy events, one small ring a CPU. */
#include "watch.h"

#include "descriptors.h"
#include "error.h"
#include "perf_abi.h"
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct kp_watch {
    struct kp_ring *rings; /* one a CPU; a ring without memory is a CPU that is offline */
    int *fds;              /* the events whose records go into another event's ring */
    struct kp_fork *forks;
    size_t n_rings, n_fds, n_forks, fds_room, forks_room;
    uint64_t lost;
    int by_task;
    int failed;
};

enum { RING_BYTES = 64 * 1024 };

static int open_dummy(int32_t pid, int32_t cpu)
{
    struct kp_attr attr = {
        .type = KP_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = KP_SW_DUMMY,
        .flags = KP_ATTR_TASK | KP_ATTR_USE_CLOCKID | KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV,
        .clockid = CLOCK_MONOTONIC,
    };
    if (pid >= 0)
        attr.flags |= KP_ATTR_INHERIT;
    return kp_perf_event_open(&attr, pid, cpu, -1, KP_OPEN_CLOEXEC);
}

static int take_ring(struct kp_ring *ring, int fd)
{
    int rc = kp_ring_create(fd, RING_BYTES, ring);
    if (rc != 0)
        close(fd);
    return rc;
}

static int watch_every_process(struct kp_watch *watch)
{
    int rc = kp_descriptors_reserve(watch->n_rings);
    for (size_t cpu = 0; rc == 0 && cpu < watch->n_rings; cpu++) {
        int fd = open_dummy(-1, (int32_t)cpu);
        if (fd >= 0)
            rc = take_ring(&watch->rings[cpu], fd);
        else if (errno == EACCES || errno == EPERM)
            watch->by_task = 1;
        else if (errno != ENODEV) /* offline */
            rc = kp_fail_at(KP_E_SYSTEM, errno, -1, (int32_t)cpu, -1, "cannot watch for new threads");
        if (watch->by_task)
            break;
    }
    return rc;
}

int kp_watch_create(struct kp_watch **out)
{
    struct kp_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
    watch->n_rings = (size_t)sysconf(_SC_NPROCESSORS_CONF);
    watch->rings = calloc(watch->n_rings, sizeof(*watch->rings));
    if (watch->rings == NULL) {
        free(watch);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
    }
    int rc = watch_every_process(watch);
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
    for (size_t i = 0; i < watch->n_rings; i++)
        kp_ring_destroy(&watch->rings[i]);
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
        return errno == ENODEV || errno == ESRCH
                   ? 0
                   : kp_fail_at(KP_E_SYSTEM, errno, -1, cpu, tid, "cannot watch for new threads");
    if (ring->base == NULL)
        return take_ring(ring, fd);
    int rc = kp_ring_join(ring, fd);
    if (rc == 0)
        rc = keep_fd(watch, fd);
    if (rc != 0)
        close(fd);
    return rc;
}

int kp_watch_add(struct kp_watch *watch, int32_t tid)
{
    if (!watch->by_task)
        return 0;
    int rc = kp_descriptors_reserve(watch->n_rings);
    for (size_t cpu = 0; rc == 0 && cpu < watch->n_rings; cpu++)
        rc = watch_task_on(watch, tid, (int32_t)cpu);
    return rc;
}

static void keep_fork(struct kp_watch *watch, const struct kp_record_fork *record)
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
    watch->forks[watch->n_forks++] = (struct kp_fork){
        .time = record->time, .tid = (int32_t)record->tid, .ptid = (int32_t)record->ptid};
}

static void take_record(void *context, const uint8_t *bytes, size_t size)
{
    struct kp_watch *watch = context;
    struct kp_record_header header;
    memcpy(&header, bytes, sizeof(header));
    if (header.type == KP_RECORD_FORK && size >= sizeof(struct kp_record_fork)) {
        struct kp_record_fork record;
        memcpy(&record, bytes, sizeof(record));
        keep_fork(watch, &record);
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

int kp_watch_drain(struct kp_watch *watch, const struct kp_fork **forks, size_t *n)
{
    for (size_t i = 0; i < watch->n_rings; i++)
        kp_ring_drain(&watch->rings[i], take_record, watch);
    if (watch->failed)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of new threads");
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
