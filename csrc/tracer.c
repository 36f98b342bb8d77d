/* SPDX-License-Identifier: Apache-2.0
 * System calls through the rings: tracepoints opened with filters in the kernel, their records
 * decoded and paired by the drain thread. */
#include "callrecord.h"
#include "drain.h"
#include "error.h"
#include "perf_abi.h"
#include "rounds.h"
#include "session.h"
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What kp_record_side wants behind a record of the tracking event. */
static const uint64_t TRACKING_TYPE =
    KP_SAMPLE_TID | KP_SAMPLE_TIME | KP_SAMPLE_CPU | KP_SAMPLE_IDENTIFIER;

struct kp_tracer {
    struct kp_session *session;
    struct kp_session_hooks hooks;
    struct kp_drain drain;
    struct kp_rounds *rounds; /* under the drain's lock, as is what follows */
    struct kp_pairs *pairs;
    struct kp_tracing tracing;
    size_t smallest_ring;
    uint64_t lost;  /* told so far */
    int tells_lost; /* each event counts its lost records; before Linux 6.0 records of loss do */
};

static uint64_t now_ns(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- records ---- */

static void take_record(void *context, size_t ring, uint64_t time, const uint8_t *record,
                        size_t size)
{
    struct kp_tracer *tracer = context;
    const struct kp_call_types types = {tracer->tracing.enter_type, tracer->tracing.exit_type,
                                        tracer->tracing.exec_type, tracer->drain.tid};
    (void)time;
    uint64_t lost = kp_call_record(tracer->pairs, &types, (int32_t)ring, record, size);
    if (!tracer->tells_lost)
        kp_pairs_lost(tracer->pairs, lost);
}

static void distrust(void *context)
{
    kp_pairs_distrust(((struct kp_tracer *)context)->pairs);
}

static void trust_from(void *context, uint64_t time)
{
    kp_pairs_trust_from(((struct kp_tracer *)context)->pairs, time);
}

static void drain_round(void *context)
{
    struct kp_tracer *tracer = context;
    kp_rounds_drain(tracer->rounds, tracer->drain.rings);
}

/* ---- whom nobody told of ---- */

/* The kind of a process's program, from the first bytes of its file. */
static uint8_t program_bits(int32_t pid)
{
    enum { CLASS = 4, CLASS_32 = 1 };
    char path[32];
    uint8_t head[CLASS + 1] = {0};
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 64;
    ssize_t n = read(fd, head, sizeof(head));
    close(fd);
    return n == (ssize_t)sizeof(head) && head[CLASS] == CLASS_32 ? 32 : 64;
}

static void meet(int32_t tid, int32_t pid, uint8_t *bits, char comm[16])
{
    *bits = program_bits(pid);
    kp_task_comm(tid, comm);
}

/* ---- opening ---- */

static void prepare_attr(void *context, const struct kp_event *event, struct kp_attr *attr)
{
    const struct kp_tracer *tracer = context;
    attr->read_format = tracer->tells_lost ? KP_FORMAT_LOST : 0;
    attr->clockid = CLOCK_MONOTONIC;
    attr->flags |= KP_ATTR_USE_CLOCKID | KP_ATTR_SAMPLE_ID_ALL;
    if (event->flags & KP_EVENT_TRACKING) {
        attr->flags &= ~(KP_ATTR_DISABLED | KP_ATTR_ENABLE_ON_EXEC);
        attr->flags |= KP_ATTR_TASK | KP_ATTR_COMM | KP_ATTR_COMM_EXEC | KP_ATTR_EXCLUDE_KERNEL |
                       KP_ATTR_EXCLUDE_HV;
        attr->sample_type = TRACKING_TYPE;
        return;
    }
    attr->sample_type = KP_CALL_SAMPLE_TYPE;
    attr->sample_period = 1;
    if (event->config == tracer->tracing.exec_type) {
        attr->sample_type |= KP_SAMPLE_REGS_USER;
        attr->sample_regs_user = 1; /* any register: it is the kind of registers that counts */
    }
}

static int give_way(void *context, const struct kp_event *event)
{
    struct kp_tracer *tracer = context;
    (void)event;
    if (!tracer->tells_lost)
        return 0;
    tracer->tells_lost = 0;
    return 1;
}

static int send_to_ring(void *context, int32_t tid, uint32_t index, int32_t cpu, int fd)
{
    (void)tid;
    struct kp_tracer *tracer = context;
    struct kp_ring *ring;
    (void)index;
    int rc = kp_drain_ring(&tracer->drain, cpu, tracer->tracing.ring_bytes, &ring);
    if (rc != 0)
        return rc;
    if (ring->size < tracer->smallest_ring)
        tracer->smallest_ring = ring->size;
    return kp_ring_join(ring, fd);
}

static int open_parts(struct kp_tracer *tracer, const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, uint32_t flags)
{
    const struct kp_rounds_taker taker = {.take = take_record,
                                          .distrust = distrust,
                                          .trust_from = trust_from,
                                          .now = now_ns,
                                          .context = tracer};
    size_t n_rings = kp_events_rings(events, n_events);
    int rc = kp_pairs_create(&tracer->tracing.calls, meet, &tracer->pairs);
    if (rc == 0)
        rc = kp_rounds_create(n_rings, &taker, &tracer->rounds);
    if (rc == 0)
        rc = kp_drain_start(&tracer->drain, n_rings, NULL, NULL, tracer);
    if (rc != 0)
        return rc;
    kp_drain_in_rounds(&tracer->drain, drain_round);
    rc = kp_session_open(events, n_events, target, flags, &tracer->hooks, tracer->drain.tid,
                         &tracer->session);
    if (rc == 0 && flags & KP_ENABLE_ON_EXEC)
        kp_pairs_open(tracer->pairs, 0);
    return rc;
}

int kp_tracer_create(const struct kp_event *events, size_t n_events, const struct kp_target *target,
                     const struct kp_tracing *tracing, uint32_t flags, struct kp_tracer **out)
{
    struct kp_tracer *tracer = calloc(1, sizeof(*tracer));
    if (tracer == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a trace");
    tracer->tracing = *tracing;
    tracer->smallest_ring = SIZE_MAX;
    tracer->tells_lost = 1;
    tracer->hooks = (struct kp_session_hooks){
        .prepare = prepare_attr, .give_way = give_way, .opened = send_to_ring, .context = tracer};
    int rc = open_parts(tracer, events, n_events, target, flags);
    if (rc != 0) {
        kp_tracer_destroy(tracer);
        return rc;
    }
    /* The caller's. */
    tracer->tracing.calls.numbers = tracer->tracing.calls.numbers_32 = NULL;
    *out = tracer;
    return 0;
}

void kp_tracer_destroy(struct kp_tracer *tracer)
{
    if (tracer == NULL)
        return;
    kp_drain_stop(&tracer->drain);
    kp_session_destroy(tracer->session);
    kp_rounds_destroy(tracer->rounds);
    kp_pairs_destroy(tracer->pairs);
    free(tracer);
}

void kp_tracer_abandon(struct kp_tracer *tracer)
{
    kp_session_abandon(tracer->session);
    kp_drain_abandon(&tracer->drain);
}

struct kp_session *kp_tracer_session(struct kp_tracer *tracer)
{
    return tracer->session;
}

uint64_t kp_tracer_ring_bytes(const struct kp_tracer *tracer)
{
    return tracer->smallest_ring == SIZE_MAX ? 0 : tracer->smallest_ring;
}

/* ---- use ---- */

/* Calls are taken that begin when every event is enabled and end before the first is disabled. */
int kp_tracer_enable(struct kp_tracer *tracer)
{
    int rc = kp_session_enable(tracer->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&tracer->drain.lock);
    kp_pairs_open(tracer->pairs, now_ns(NULL));
    pthread_mutex_unlock(&tracer->drain.lock);
    return 0;
}

int kp_tracer_disable(struct kp_tracer *tracer)
{
    int rc = kp_session_check_owner(tracer->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&tracer->drain.lock);
    kp_pairs_until(tracer->pairs, now_ns(NULL));
    pthread_mutex_unlock(&tracer->drain.lock);
    rc = kp_session_disable(tracer->session);
    pthread_mutex_lock(&tracer->drain.lock);
    kp_drain_all(&tracer->drain);
    kp_pairs_close(tracer->pairs);
    pthread_mutex_unlock(&tracer->drain.lock);
    return rc;
}

/* A record of loss comes with the next record that finds room: after the last one, none does. */
static void count_lost(struct kp_tracer *tracer)
{
    uint64_t total = 0, fields[2]; /* the count, and what was lost of it */
    for (size_t i = 0; tracer->tells_lost && i < tracer->session->n_cells; i++)
        if (tracer->session->cells[i].fd >= 0 &&
            read(tracer->session->cells[i].fd, fields, sizeof(fields)) == sizeof(fields))
            total += fields[1];
    if (total > tracer->lost)
        kp_pairs_lost(tracer->pairs, total - tracer->lost);
    tracer->lost = total;
}

static int read_pairs(struct kp_tracer *tracer, int (*read_one)(struct kp_tracer *, void *),
                      void *out)
{
    int rc = kp_session_check_owner(tracer->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&tracer->drain.lock);
    kp_drain_all(&tracer->drain);
    rc = read_one(tracer, out);
    pthread_mutex_unlock(&tracer->drain.lock);
    return rc;
}

static int read_summary(struct kp_tracer *tracer, void *out)
{
    count_lost(tracer);
    return kp_pairs_read_summary(tracer->pairs, out);
}

static int read_calls(struct kp_tracer *tracer, void *out)
{
    return kp_pairs_read_calls(tracer->pairs, out);
}

int kp_tracer_read_summary(struct kp_tracer *tracer, struct kp_call_summary **out)
{
    return read_pairs(tracer, read_summary, out);
}

int kp_tracer_read_calls(struct kp_tracer *tracer, struct kp_calls **out)
{
    return read_pairs(tracer, read_calls, out);
}
