/* SPDX-License-Identifier: Apache-2.0
 * Sampling: a session whose events write into one ring a CPU, a thread that empties them into a
 * store, and what is known of the processes meanwhile. */
#include "drain.h"
#include "error.h"
#include "perf_abi.h"
#include "resolve.h"
#include "session.h"
#include "space.h"
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define IOC_ID 0x80082407UL

/* ---- which event a record is of ---- */

struct id_table {
    uint64_t *ids; /* 0: free */
    uint32_t *events;
    size_t size, used; /* a power of two */
};

static size_t id_slot(const struct id_table *table, uint64_t id)
{
    size_t at = (id * 0x9e3779b97f4a7c15u >> 20) & (table->size - 1);
    while (table->ids[at] != 0 && table->ids[at] != id)
        at = (at + 1) & (table->size - 1);
    return at;
}

static void id_table_free(struct id_table *table)
{
    free(table->ids);
    free(table->events);
}

static int id_table_grow(struct id_table *table)
{
    struct id_table grown = {.size = table->size ? table->size * 2 : 256, .used = table->used};
    grown.ids = calloc(grown.size, sizeof(*grown.ids));
    grown.events = calloc(grown.size, sizeof(*grown.events));
    if (grown.ids == NULL || grown.events == NULL) {
        id_table_free(&grown);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the events' numbers");
    }
    for (size_t i = 0; i < table->size; i++) {
        if (table->ids[i] == 0)
            continue;
        size_t at = id_slot(&grown, table->ids[i]);
        grown.ids[at] = table->ids[i];
        grown.events[at] = table->events[i];
    }
    id_table_free(table);
    *table = grown;
    return 0;
}

static int id_table_add(struct id_table *table, uint64_t id, uint32_t event)
{
    if (table->used * 2 >= table->size) {
        int rc = id_table_grow(table);
        if (rc != 0)
            return rc;
    }
    size_t at = id_slot(table, id);
    table->used += table->ids[at] == 0;
    table->ids[at] = id;
    table->events[at] = event;
    return 0;
}

/* ---- the sampler ---- */

struct kp_sampler {
    struct kp_session *session;
    struct kp_session_hooks hooks;
    struct kp_sampling sampling;
    uint64_t sample_type;
    struct kp_drain drain;
    struct id_table ids;
    struct kp_store store;
    struct kp_column side; /* side-band records as they came, decoded when they are needed */
    size_t side_used;
    struct kp_loss *loss; /* one an event */
    uint64_t *periods;    /* one an event: 0 where each sample tells its own */
    size_t n_events;
    uint64_t side_lost;
    uint64_t malformed;
    pthread_mutex_t spaces_lock;
    struct kp_spaces *spaces;
    DIR *proc; /* while a scan of all processes goes on */
    size_t smallest_ring;
    int no_build_id;
    int system_wide;
};

enum { MOST_SIDE_BYTES = 1 << 30, MOST_CPUS = 1 << 16 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- records ---- */

/* The event that a sample's identifier, its first field, stands for. */
static int event_of(const struct kp_sampler *sampler, const uint8_t *record, size_t size,
                    uint32_t *out)
{
    uint64_t id;
    if (size < sizeof(struct kp_record_header) + sizeof(id))
        return -1;
    memcpy(&id, record + sizeof(struct kp_record_header), sizeof(id));
    size_t at = id_slot(&sampler->ids, id);
    if (sampler->ids.ids[at] == 0)
        return -1;
    *out = sampler->ids.events[at];
    return 0;
}

/* Of a fixed period the record must not tell: asked for it, the kernel samples every single hit of
 * a software event or tracepoint, whatever the period. */
static uint64_t type_of(const struct kp_sampler *sampler, uint64_t fixed_period)
{
    return fixed_period != 0 ? sampler->sample_type & ~(uint64_t)KP_SAMPLE_PERIOD
                             : sampler->sample_type;
}

static uint64_t fixed_period_of(const struct kp_event *event)
{
    return event->flags & (KP_EVENT_FREQUENCY | KP_EVENT_TRACKING) ? 0 : event->period;
}

static void take_sample(struct kp_sampler *sampler, const uint8_t *record, size_t size)
{
    struct kp_sample sample;
    uint32_t event;
    if (event_of(sampler, record, size, &event) != 0 ||
        kp_record_sample(record, size, type_of(sampler, sampler->periods[event]), 0, &sample) !=
            0) {
        sampler->malformed++;
        return;
    }
    if (sample.tid == sampler->drain.tid)
        return; /* ourselves */
    if (sampler->periods[event] != 0)
        sample.period = sampler->periods[event];
    if (kp_store_add(&sampler->store, &sample, event) == 0)
        sampler->loss[event].samples++;
    else
        sampler->loss[event].dropped++;
}

/* The counter of an event's losses that a record adds to, and by how much. */
static void take_loss(struct kp_sampler *sampler, uint32_t type, const uint8_t *record, size_t size)
{
    uint64_t time, id, lost = 0;
    struct kp_record_lost fields;
    if (kp_record_trailer(record, size, &time, &id) != 0) {
        sampler->malformed++;
        return;
    }
    size_t at = id_slot(&sampler->ids, id);
    struct kp_loss *loss =
        sampler->ids.ids[at] == 0 ? NULL : &sampler->loss[sampler->ids.events[at]];
    if (type == KP_RECORD_LOST && size >= sizeof(fields)) {
        memcpy(&fields, record, sizeof(fields));
        lost = fields.lost;
    } else if (type == KP_RECORD_LOST_SAMPLES) {
        memcpy(&lost, record + sizeof(struct kp_record_header), sizeof(lost));
    }
    if (loss == NULL)
        sampler->side_lost += lost;
    else if (type == KP_RECORD_LOST)
        loss->lost += lost;
    else if (type == KP_RECORD_LOST_SAMPLES)
        loss->lost_samples += lost;
    else
        loss->throttled++;
}

static void take_side(struct kp_sampler *sampler, const uint8_t *record, size_t size)
{
    if (kp_column_grow(&sampler->side, sampler->side_used + size) != 0) {
        sampler->side_lost++;
        return;
    }
    memcpy(sampler->side.base + sampler->side_used, record, size);
    sampler->side_used += size;
}

static void take_record(void *context, const uint8_t *record, size_t size)
{
    struct kp_sampler *sampler = context;
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    switch (header.type) {
    case KP_RECORD_SAMPLE:
        take_sample(sampler, record, size);
        break;
    case KP_RECORD_LOST:
    case KP_RECORD_LOST_SAMPLES:
    case KP_RECORD_THROTTLE:
        take_loss(sampler, header.type, record, size);
        break;
    case KP_RECORD_UNTHROTTLE:
        break;
    default:
        take_side(sampler, record, size);
    }
}

/* ---- opening ---- */

static const uint64_t TRACKING =
    KP_ATTR_MMAP | KP_ATTR_MMAP2 | KP_ATTR_COMM | KP_ATTR_COMM_EXEC | KP_ATTR_TASK;

static void prepare_attr(void *context, const struct kp_event *event, struct kp_attr *attr)
{
    const struct kp_sampler *sampler = context;
    attr->read_format = 0;
    attr->clockid = CLOCK_MONOTONIC;
    attr->flags |= KP_ATTR_USE_CLOCKID | KP_ATTR_SAMPLE_ID_ALL;
    attr->sample_type = type_of(sampler, fixed_period_of(event));
    if (event->flags & KP_EVENT_TRACKING) {
        /* From the start, so that nothing of what happens before the enabling is missed. */
        attr->flags &= ~(KP_ATTR_DISABLED | KP_ATTR_ENABLE_ON_EXEC);
        attr->flags |= TRACKING | KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV;
        if (!sampler->no_build_id)
            attr->flags |= KP_ATTR_BUILD_ID;
        return;
    }
    attr->sample_period = event->period;
    if (event->flags & KP_EVENT_FREQUENCY)
        attr->flags |= KP_ATTR_FREQ;
    attr->branch_sample_type = sampler->sampling.branch_sample_type;
    attr->sample_max_stack = (uint16_t)sampler->sampling.max_stack;
}

static int give_way(void *context, const struct kp_event *event)
{
    struct kp_sampler *sampler = context;
    if (!(event->flags & KP_EVENT_TRACKING) || sampler->no_build_id)
        return 0;
    sampler->no_build_id = 1; /* before Linux 5.12: the path and the inode must do */
    return 1;
}

static int send_to_ring(void *context, uint32_t index, int32_t cpu, int fd)
{
    struct kp_sampler *sampler = context;
    struct kp_ring *ring;
    uint64_t id;
    if (ioctl(fd, IOC_ID, &id) != 0)
        return kp_fail_at(KP_E_SYSTEM, errno, (int32_t)index, cpu, -1, "cannot identify the event");
    int rc = kp_drain_ring(&sampler->drain, cpu, sampler->sampling.ring_bytes, &ring);
    if (rc != 0)
        return rc;
    if (ring->size < sampler->smallest_ring)
        sampler->smallest_ring = ring->size;
    pthread_mutex_lock(&sampler->drain.lock);
    rc = id_table_add(&sampler->ids, id, index);
    pthread_mutex_unlock(&sampler->drain.lock);
    return rc != 0 ? rc : kp_ring_join(ring, fd);
}

static uint64_t sample_type_of(const struct kp_sampling *sampling)
{
    uint64_t type = KP_SAMPLE_IDENTIFIER | KP_SAMPLE_IP | KP_SAMPLE_TID | KP_SAMPLE_TIME |
                    KP_SAMPLE_CPU | KP_SAMPLE_PERIOD;
    if (sampling->flags & KP_SAMPLING_ADDR)
        type |= KP_SAMPLE_ADDR;
    if (sampling->flags & KP_SAMPLING_CALLCHAIN)
        type |= KP_SAMPLE_CALLCHAIN;
    if (sampling->flags & KP_SAMPLING_RAW)
        type |= KP_SAMPLE_RAW;
    if (sampling->branch_sample_type != 0)
        type |= KP_SAMPLE_BRANCH_STACK;
    return type;
}

static int create_store(const struct kp_sampler *sampler, struct kp_store *store)
{
    const struct kp_sampling *sampling = &sampler->sampling;
    int has_extra = sampling->branch_sample_type != 0 || (sampling->flags & KP_SAMPLING_RAW) != 0;
    return kp_store_create(store, sampling->store_bytes, (sampling->flags & KP_SAMPLING_ADDR) != 0,
                           has_extra);
}

/* The maps of what is watched already; a command that has yet to exec will tell its own. */
static int scan_targets(struct kp_sampler *sampler)
{
    const struct kp_session *session = sampler->session;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < session->n_tasks; i++) {
        int32_t pid = session->tasks[i].id.pid;
        if (pid > 0 && (i == 0 || session->tasks[i - 1].id.pid != pid))
            rc = kp_spaces_scan(sampler->spaces, pid, now_ns());
    }
    return rc;
}

/* One process a call, so that the rings are looked after between them. */
static int scan_next(void *context)
{
    struct kp_sampler *sampler = context;
    struct dirent *entry;
    while ((entry = readdir(sampler->proc)) != NULL) {
        int32_t pid = atoi(entry->d_name);
        if (pid <= 0)
            continue;
        pthread_mutex_lock(&sampler->spaces_lock);
        int rc = kp_spaces_scan(sampler->spaces, pid, now_ns());
        pthread_mutex_unlock(&sampler->spaces_lock);
        return rc == 0;
    }
    return 0;
}

/* One for each number up to the highest that an event names: CPUs may be numbered with gaps, and a
 * C library may count those alone that this process may run on. */
static size_t count_rings(const struct kp_event *events, size_t n_events)
{
    int32_t highest = 0;
    for (size_t i = 0; i < n_events; i++)
        for (uint32_t at = 0; at < events[i].n_cpus; at++)
            if (events[i].cpus[at] > highest && events[i].cpus[at] < MOST_CPUS)
                highest = events[i].cpus[at];
    return (size_t)highest + 1;
}

static int open_parts(struct kp_sampler *sampler, const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, uint32_t flags)
{
    sampler->loss = calloc(n_events, sizeof(*sampler->loss));
    sampler->periods = calloc(n_events, sizeof(*sampler->periods));
    if (sampler->loss == NULL || sampler->periods == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu events", n_events);
    for (size_t i = 0; i < n_events; i++)
        sampler->periods[i] = fixed_period_of(&events[i]);
    int rc = kp_column_create(&sampler->side, 1, MOST_SIDE_BYTES);
    if (rc == 0)
        rc = id_table_grow(&sampler->ids);
    if (rc == 0)
        rc = create_store(sampler, &sampler->store);
    if (rc == 0)
        rc = kp_spaces_create(&sampler->spaces);
    if (rc == 0)
        rc = kp_drain_start(&sampler->drain, count_rings(events, n_events), take_record, scan_next,
                            sampler);
    if (rc == 0)
        rc = kp_session_open(events, n_events, target, flags, &sampler->hooks, sampler->drain.tid,
                             &sampler->session);
    if (rc == 0 && !sampler->system_wide && !(flags & KP_ENABLE_ON_EXEC))
        rc = scan_targets(sampler);
    return rc;
}

int kp_sampler_create(const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, const struct kp_sampling *sampling,
                      uint32_t flags, struct kp_sampler **out)
{
    struct kp_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session");
    sampler->sampling = *sampling;
    sampler->sample_type = sample_type_of(sampling);
    sampler->n_events = n_events;
    sampler->smallest_ring = SIZE_MAX;
    sampler->system_wide = target->n_pids == 0 && target->n_tids == 0;
    sampler->hooks = (struct kp_session_hooks){
        .prepare = prepare_attr, .give_way = give_way, .opened = send_to_ring, .context = sampler};
    pthread_mutex_init(&sampler->spaces_lock, NULL);
    int rc = open_parts(sampler, events, n_events, target, flags);
    if (rc != 0) {
        kp_sampler_destroy(sampler);
        return rc;
    }
    *out = sampler;
    return 0;
}

void kp_sampler_destroy(struct kp_sampler *sampler)
{
    if (sampler == NULL)
        return;
    kp_drain_stop(&sampler->drain);
    kp_session_destroy(sampler->session);
    if (sampler->proc != NULL)
        closedir(sampler->proc);
    kp_store_destroy(&sampler->store);
    kp_column_destroy(&sampler->side);
    kp_spaces_destroy(sampler->spaces);
    id_table_free(&sampler->ids);
    pthread_mutex_destroy(&sampler->spaces_lock);
    free(sampler->loss);
    free(sampler->periods);
    free(sampler);
}

void kp_sampler_abandon(struct kp_sampler *sampler)
{
    kp_session_abandon(sampler->session);
    kp_drain_abandon(&sampler->drain);
    if (sampler->proc != NULL)
        close(dirfd(sampler->proc));
}

struct kp_session *kp_sampler_session(struct kp_sampler *sampler)
{
    return sampler->session;
}

/* ---- use ---- */

int kp_sampler_enable(struct kp_sampler *sampler)
{
    int rc = kp_session_enable(sampler->session);
    if (rc != 0 || !sampler->system_wide || sampler->proc != NULL)
        return rc;
    sampler->proc = opendir("/proc");
    if (sampler->proc == NULL)
        return kp_fail(KP_E_SYSTEM, errno, "cannot list the processes");
    kp_drain_begin_work(&sampler->drain);
    return 0;
}

int kp_sampler_disable(struct kp_sampler *sampler)
{
    return kp_session_disable(sampler->session);
}

/* What was taken up to now, and in its place a new store and an empty side-band. */
struct taken {
    struct kp_store store;
    struct kp_column side;
    size_t side_used;
    struct kp_loss *loss;
    uint64_t side_lost, malformed;
};

static int make_empty(const struct kp_sampler *sampler, struct taken *out)
{
    memset(out, 0, sizeof(*out));
    out->loss = calloc(sampler->n_events, sizeof(*out->loss));
    int rc = out->loss == NULL ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a result") : 0;
    if (rc == 0)
        rc = kp_column_create(&out->side, 1, MOST_SIDE_BYTES);
    if (rc == 0)
        rc = create_store(sampler, &out->store);
    return rc;
}

static void free_taken(struct taken *taken)
{
    kp_store_destroy(&taken->store);
    kp_column_destroy(&taken->side);
    free(taken->loss);
}

static void swap(struct kp_sampler *sampler, struct taken *with)
{
    struct taken now = {.store = sampler->store,
                        .side = sampler->side,
                        .side_used = sampler->side_used,
                        .loss = sampler->loss,
                        .side_lost = sampler->side_lost,
                        .malformed = sampler->malformed};
    sampler->store = with->store;
    sampler->side = with->side;
    sampler->side_used = with->side_used;
    sampler->loss = with->loss;
    sampler->side_lost = with->side_lost;
    sampler->malformed = with->malformed;
    *with = now;
}

static int take_over_side(struct kp_sampler *sampler, const struct taken *taken)
{
    struct kp_side side;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < taken->side_used;) {
        struct kp_record_header header;
        memcpy(&header, taken->side.base + at, sizeof(header));
        if (kp_record_side(taken->side.base + at, header.size, &side) == 0)
            rc = kp_spaces_add(sampler->spaces, &side);
        at += header.size;
    }
    return rc;
}

static int finish(struct kp_sampler *sampler, struct taken *taken, struct kp_samples **out)
{
    pthread_mutex_lock(&sampler->spaces_lock);
    int rc = take_over_side(sampler, taken);
    if (rc == 0)
        rc = kp_resolve(&taken->store, sampler->spaces, out);
    pthread_mutex_unlock(&sampler->spaces_lock);
    if (rc != 0)
        return rc;
    (*out)->loss = taken->loss;
    (*out)->n_events = sampler->n_events;
    (*out)->side_lost = taken->side_lost;
    (*out)->malformed = taken->malformed;
    (*out)->ring_bytes = sampler->smallest_ring == SIZE_MAX ? 0 : sampler->smallest_ring;
    taken->loss = NULL;
    return 0;
}

int kp_sampler_read(struct kp_sampler *sampler, struct kp_samples **out)
{
    struct taken taken;
    int rc = kp_session_check_owner(sampler->session);
    if (rc != 0)
        return rc;
    kp_drain_finish_work(&sampler->drain);
    rc = make_empty(sampler, &taken);
    if (rc == 0) {
        pthread_mutex_lock(&sampler->drain.lock);
        kp_drain_all(&sampler->drain);
        swap(sampler, &taken);
        pthread_mutex_unlock(&sampler->drain.lock);
        rc = finish(sampler, &taken, out);
    }
    free_taken(&taken);
    return rc;
}
