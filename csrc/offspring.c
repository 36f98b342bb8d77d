/* SPDX-License-Identifier: Apache-2.0
 * Counting with rows for the threads and children that are born meanwhile.
 *
 * The counters of those that were there at first are inherited, so their totals are exact whatever
 * comes and goes. Beside them each newborn gets counters of its own as soon as the kernel's record
 * of its birth is seen, and what these count is taken out of the total: what a newborn does in the
 * instant before, or all that one does which is gone by then, stays in the row of the one that was
 * there. */
#include "count.h"
#include "descriptors.h"
#include "drain.h"
#include "error.h"
#include "perf_abi.h"
#include "record.h"
#include "shareout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define IOC_ID 0x80082407UL

enum {
    RING_BYTES = 1 << 17, /* births and ends of two thousand threads a CPU */
    AT_ONCE = 64,         /* newborns whose descriptors are asked for together */
    MOST_ENDED = 1 << 18  /* whose rows wait for the next read */
};

/* What the records tell, until all rings are empty and it can be put in order. */
struct happening {
    enum kp_side_kind kind;
    uint64_t time, id;
    int32_t pid, tid;
    char comm[16];
};

/* A tracking event of a thread that was there at first. */
struct tracker {
    uint64_t id;
    int32_t tid;
};

/* A newborn that has ended: what it counted since the last read. */
struct ended {
    struct kp_counts *counts;
    uint32_t root;
};

struct kp_offspring {
    struct kp_session *session; /* those that were there, and in their totals everybody */
    struct kp_session *own;     /* the newborn alone */
    struct kp_session_hooks hooks;
    struct kp_drain drain; /* all that follows is under its lock */
    struct tracker *trackers;
    struct happening *happenings;
    struct ended *ended;
    uint32_t *roots;    /* of each task of `own`: a task of `session` */
    uint8_t *root_gone; /* of each task of `session` */
    size_t n_trackers, trackers_room, n_happenings, happenings_room, n_ended, ended_room;
    size_t roots_room;
    uint64_t granted, denied; /* descriptors that the newborn may take, and may not */
    struct kp_offspring_report report;
    int enabled;
};

static int make_room(void *items, size_t *room, size_t n, size_t width)
{
    if (n < *room)
        return 0;
    size_t more = *room ? *room * 2 : 64;
    void **array = items, *grown = realloc(*array, more * width);
    if (grown == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of new threads");
    *array = grown;
    *room = more;
    return 0;
}

/* ---- records ---- */

static void take_record(void *context, const uint8_t *record, size_t size)
{
    struct kp_offspring *offspring = context;
    struct kp_record_header header;
    struct kp_side side;
    uint64_t time, id;
    memcpy(&header, record, sizeof(header));
    if (header.type == KP_RECORD_LOST && size >= sizeof(struct kp_record_lost)) {
        struct kp_record_lost lost;
        memcpy(&lost, record, sizeof(lost));
        offspring->report.lost += lost.lost;
        return;
    }
    if (kp_record_side(record, size, &side) != 0 || kp_record_trailer(record, size, &time, &id))
        return;
    if (make_room(&offspring->happenings, &offspring->happenings_room, offspring->n_happenings,
                  sizeof(*offspring->happenings)) != 0) {
        offspring->report.lost++;
        return;
    }
    struct happening *happening = &offspring->happenings[offspring->n_happenings++];
    *happening = (struct happening){
        .kind = side.kind, .time = time, .id = id, .pid = side.pid, .tid = side.tid};
    if (side.name != NULL)
        memcpy(happening->comm, side.name, side.name_size < 15 ? side.name_size : 15);
}

static int by_time(const void *left, const void *right)
{
    const struct happening *a = left, *b = right;
    return (a->time > b->time) - (a->time < b->time);
}

/* ---- who was there ---- */

/* The kernel gives its numbers in order. */
static int32_t tracked_tid(const struct kp_offspring *offspring, uint64_t id)
{
    size_t low = 0, high = offspring->n_trackers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (offspring->trackers[middle].id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && offspring->trackers[low - 1].id == id ? offspring->trackers[low - 1].tid : -1;
}

static int64_t root_of(const struct kp_offspring *offspring, uint64_t id)
{
    int32_t tid = tracked_tid(offspring, id);
    const struct kp_session_task *task =
        tid < 0 ? NULL : kp_session_find_task(offspring->session, tid);
    return task == NULL ? -1 : task - offspring->session->tasks;
}

/* ---- births and ends ---- */

/* Descriptors are asked for by many, as each asking counts those in use. */
static int may_open(struct kp_offspring *offspring)
{
    uint64_t each = offspring->own->cells_per_task;
    uint64_t needed = each * (offspring->own->n_tasks + 1);
    if (offspring->denied != 0 && needed >= offspring->denied)
        return 0;
    for (uint64_t n = AT_ONCE; needed > offspring->granted && n > 0; n /= AT_ONCE)
        if (kp_descriptors_reserve_spare(each * n) == 0)
            offspring->granted = each * (offspring->own->n_tasks + n);
    if (needed <= offspring->granted)
        return 1;
    offspring->denied = needed;
    return 0;
}

static void count_unopened(struct kp_offspring *offspring, int rc)
{
    if (rc == KP_E_NO_PROCESS)
        offspring->report.gone++;
    else if (rc == KP_E_FILES)
        offspring->report.beyond++;
    else
        offspring->report.refused++;
}

static int open_newborn(struct kp_offspring *offspring, const struct happening *birth,
                        uint32_t root)
{
    struct kp_session *own = offspring->own;
    size_t index = own->n_tasks;
    if (!may_open(offspring))
        return KP_E_FILES;
    int rc = make_room(&offspring->roots, &offspring->roots_room, index, sizeof(*offspring->roots));
    if (rc == 0)
        rc = kp_session_open_task(own, (struct kp_task){.pid = birth->pid, .tid = birth->tid});
    if (rc != 0)
        return rc;
    offspring->roots[index] = root;
    if (offspring->enabled)
        rc = kp_session_enable_task(own, &own->tasks[index]);
    if (rc != 0)
        kp_session_close_task(own, birth->tid);
    return rc;
}

static void take_birth(struct kp_offspring *offspring, const struct happening *birth)
{
    int64_t root = root_of(offspring, birth->id);
    const struct kp_session_task *there = kp_session_find_task(offspring->session, birth->tid);
    if (root < 0 || birth->tid <= 0 || kp_session_find_task(offspring->own, birth->tid) != NULL ||
        (there != NULL && !offspring->root_gone[there - offspring->session->tasks]))
        return;
    int rc = open_newborn(offspring, birth, (uint32_t)root);
    if (rc != 0)
        count_unopened(offspring, rc);
}

static void forget(struct kp_offspring *offspring, size_t index)
{
    kp_session_close_task(offspring->own, offspring->own->tasks[index].id.tid);
    memmove(&offspring->roots[index], &offspring->roots[index + 1],
            (offspring->own->n_tasks - index) * sizeof(*offspring->roots));
}

/* Its counts are final; its descriptors are for others. */
static void take_end(struct kp_offspring *offspring, const struct happening *end)
{
    const struct kp_session_task *there = kp_session_find_task(offspring->session, end->tid);
    const struct kp_session_task *task = kp_session_find_task(offspring->own, end->tid);
    struct kp_counts *counts;
    if (task == NULL && there != NULL)
        offspring->root_gone[there - offspring->session->tasks] = 1;
    if (task == NULL)
        return;
    size_t index = (size_t)(task - offspring->own->tasks);
    if (offspring->n_ended < MOST_ENDED &&
        make_room(&offspring->ended, &offspring->ended_room, offspring->n_ended,
                  sizeof(*offspring->ended)) == 0 &&
        kp_session_read_task(offspring->own, task, &counts) == 0)
        offspring->ended[offspring->n_ended++] =
            (struct ended){.counts = counts, .root = offspring->roots[index]};
    else
        offspring->report.refused++;
    forget(offspring, index);
}

static void take_name(struct kp_offspring *offspring, const struct happening *naming)
{
    struct kp_session_task *task = kp_session_find_task(offspring->own, naming->tid);
    if (task != NULL)
        memcpy(task->comm, naming->comm, sizeof(task->comm));
}

static void drain_round(void *context)
{
    struct kp_offspring *offspring = context;
    for (size_t i = 0; i < offspring->drain.n_rings; i++)
        kp_ring_drain(&offspring->drain.rings[i], take_record, offspring);
    if (offspring->own == NULL)
        return; /* who was there is not known yet */
    if (offspring->n_happenings > 1)
        qsort(offspring->happenings, offspring->n_happenings, sizeof(*offspring->happenings),
              by_time);
    for (size_t i = 0; i < offspring->n_happenings; i++) {
        const struct happening *happening = &offspring->happenings[i];
        if (happening->kind == KP_SIDE_FORK)
            take_birth(offspring, happening);
        else if (happening->kind == KP_SIDE_EXIT)
            take_end(offspring, happening);
        else
            take_name(offspring, happening);
    }
    offspring->n_happenings = 0;
}

/* ---- opening ---- */

static void prepare_attr(void *context, const struct kp_event *event, struct kp_attr *attr)
{
    (void)context;
    if (!(event->flags & KP_EVENT_TRACKING))
        return;
    attr->read_format = 0;
    attr->clockid = CLOCK_MONOTONIC;
    attr->sample_type = KP_SAMPLE_IDENTIFIER | KP_SAMPLE_TID | KP_SAMPLE_TIME | KP_SAMPLE_CPU;
    attr->flags &= ~(KP_ATTR_DISABLED | KP_ATTR_ENABLE_ON_EXEC);
    attr->flags |= KP_ATTR_TASK | KP_ATTR_COMM | KP_ATTR_USE_CLOCKID | KP_ATTR_SAMPLE_ID_ALL |
                   KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV;
}

static int give_way(void *context, const struct kp_event *event)
{
    (void)context;
    (void)event;
    return 0;
}

static int know(void *context, int32_t tid, uint32_t index, int32_t cpu, int fd)
{
    struct kp_offspring *offspring = context;
    struct kp_ring *ring;
    uint64_t id;
    if (index != 0)
        return 0;
    if (ioctl(fd, IOC_ID, &id) != 0)
        return kp_fail_at(KP_E_SYSTEM, errno, (int32_t)index, cpu, tid,
                          "cannot identify the event");
    int rc = kp_drain_ring(&offspring->drain, cpu, RING_BYTES, &ring);
    if (rc == 0)
        rc = make_room(&offspring->trackers, &offspring->trackers_room, offspring->n_trackers,
                       sizeof(*offspring->trackers));
    if (rc != 0)
        return rc;
    offspring->trackers[offspring->n_trackers++] = (struct tracker){.id = id, .tid = tid};
    return kp_ring_join(ring, fd);
}

static int begin(struct kp_offspring *offspring)
{
    struct kp_session *own;
    offspring->root_gone = calloc(offspring->session->n_tasks + 1, 1);
    if (offspring->root_gone == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session");
    int rc = kp_session_create_alike(offspring->session, &own);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&offspring->drain.lock);
    offspring->own = own;
    kp_drain_all(&offspring->drain);
    pthread_mutex_unlock(&offspring->drain.lock);
    return 0;
}

int kp_offspring_create(const struct kp_event *events, size_t n_events,
                        const struct kp_target *target, uint32_t flags, struct kp_offspring **out)
{
    if (n_events < 2 || !(events[0].flags & KP_EVENT_TRACKING) || !(flags & KP_INHERIT))
        return kp_fail(KP_E_ARGUMENT, 0, "the first event must track what is inherited");
    struct kp_offspring *offspring = calloc(1, sizeof(*offspring));
    if (offspring == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session");
    offspring->hooks = (struct kp_session_hooks){.prepare = prepare_attr,
                                                 .give_way = give_way,
                                                 .opened = know,
                                                 .context = offspring,
                                                 .counts = 1};
    offspring->enabled = (flags & KP_ENABLE_ON_EXEC) != 0; /* nothing is born before */
    int rc = kp_drain_start(&offspring->drain, kp_events_rings(events, n_events), take_record, NULL,
                            offspring);
    if (rc == 0) {
        kp_drain_in_rounds(&offspring->drain, drain_round);
        offspring->drain.wake_bytes = 1; /* each record */
        rc = kp_session_open(events, n_events, target, flags, &offspring->hooks,
                             offspring->drain.tid, &offspring->session);
    }
    if (rc == 0)
        rc = begin(offspring);
    if (rc != 0) {
        kp_offspring_destroy(offspring);
        return rc;
    }
    *out = offspring;
    return 0;
}

static void forget_ended(struct kp_offspring *offspring)
{
    for (size_t i = 0; i < offspring->n_ended; i++)
        kp_counts_destroy(offspring->ended[i].counts);
    offspring->n_ended = 0;
}

void kp_offspring_destroy(struct kp_offspring *offspring)
{
    if (offspring == NULL)
        return;
    kp_drain_stop(&offspring->drain);
    kp_session_destroy(offspring->session);
    kp_session_destroy(offspring->own);
    forget_ended(offspring);
    free(offspring->trackers);
    free(offspring->happenings);
    free(offspring->ended);
    free(offspring->roots);
    free(offspring->root_gone);
    free(offspring);
}

void kp_offspring_abandon(struct kp_offspring *offspring)
{
    kp_session_abandon(offspring->session);
    kp_session_abandon(offspring->own);
    kp_drain_abandon(&offspring->drain);
}

void kp_offspring_hold(struct kp_offspring *offspring)
{
    pthread_mutex_lock(&offspring->drain.lock);
}

void kp_offspring_go_on(struct kp_offspring *offspring)
{
    pthread_mutex_unlock(&offspring->drain.lock);
}

struct kp_session *kp_offspring_session(struct kp_offspring *offspring)
{
    return offspring->session;
}

/* ---- use ---- */

/* What counts newborns alone runs within the time of what counts everybody. */
int kp_offspring_enable(struct kp_offspring *offspring)
{
    int rc = kp_session_check_owner(offspring->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&offspring->drain.lock);
    rc = kp_session_enable(offspring->session);
    if (rc == 0)
        rc = kp_session_enable(offspring->own);
    offspring->enabled = 1;
    pthread_mutex_unlock(&offspring->drain.lock);
    return rc;
}

int kp_offspring_disable(struct kp_offspring *offspring)
{
    int rc = kp_session_check_owner(offspring->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&offspring->drain.lock);
    offspring->enabled = 0;
    rc = kp_session_disable(offspring->own);
    if (rc == 0)
        rc = kp_session_disable(offspring->session);
    pthread_mutex_unlock(&offspring->drain.lock);
    return rc;
}

/* The row of a root's total that the first row of one of its newborns is a part of: both have the
 * same cells, but for those that track. */
static size_t total_of(const struct kp_offspring *offspring, uint32_t root)
{
    const struct kp_session *session = offspring->session;
    return session->tasks[root].first + session->events[0].n_cpus - 1;
}

static struct kp_part *list_parts(struct kp_offspring *offspring, const struct kp_counts *counts,
                                  size_t *n_out)
{
    const struct kp_session *own = offspring->own;
    struct kp_part *parts = calloc(offspring->n_ended + own->n_tasks + 1, sizeof(*parts));
    size_t n = 0;
    if (parts == NULL)
        return NULL;
    for (size_t i = 0; i < offspring->n_ended; i++)
        parts[n++] = (struct kp_part){.counts = offspring->ended[i].counts,
                                      .len = offspring->ended[i].counts->len,
                                      .total = total_of(offspring, offspring->ended[i].root)};
    for (size_t i = 0; i < own->n_tasks; i++)
        parts[n++] = (struct kp_part){.counts = counts,
                                      .first = own->tasks[i].first,
                                      .len = own->tasks[i].n,
                                      .total = total_of(offspring, offspring->roots[i]),
                                      .cells = &own->cells[own->tasks[i].first]};
    *n_out = n;
    return parts;
}

static int share_out(struct kp_offspring *offspring, const struct kp_counts *counts,
                     struct kp_counts *totals, struct kp_counts **out)
{
    size_t n;
    struct kp_part *parts = list_parts(offspring, counts, &n);
    int rc = parts == NULL ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the rows of new threads")
                           : kp_share_out(totals, parts, n, 0, out);
    free(parts);
    return rc;
}

/* The newborn are read before those whose totals they are in. */
static int read_all(struct kp_offspring *offspring, struct kp_counts **out)
{
    struct kp_counts *counts = NULL, *totals = NULL;
    kp_drain_all(&offspring->drain);
    int rc = kp_session_read(offspring->own, &counts);
    if (rc == 0)
        rc = kp_session_read(offspring->session, &totals);
    if (rc == 0)
        rc = share_out(offspring, counts, totals, out);
    if (rc == 0)
        forget_ended(offspring);
    kp_counts_destroy(counts);
    kp_counts_destroy(totals);
    return rc;
}

int kp_offspring_read(struct kp_offspring *offspring, struct kp_counts **out)
{
    int rc = kp_session_check_owner(offspring->session);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&offspring->drain.lock);
    rc = read_all(offspring, out);
    pthread_mutex_unlock(&offspring->drain.lock);
    return rc;
}

int kp_offspring_report(struct kp_offspring *offspring, struct kp_offspring_report *out)
{
    pthread_mutex_lock(&offspring->drain.lock);
    *out = offspring->report;
    pthread_mutex_unlock(&offspring->drain.lock);
    return 0;
}
