/* SPDX-License-Identifier: Apache-2.0
 * Attaching to processes that create threads meanwhile: none missed, none counted twice.
 *
 * A thread made by an attached one inherits its counters; one made by a thread not yet attached does
 * not, and an inherited thread that is opened again counts twice. Nothing is enabled yet, so attaching
 * may be repeated at no loss. First the cheap way: list, attach, list again; where nothing new appeared,
 * that was all. Otherwise the kernel's FORK records tell who made whom, and when: before the maker was
 * attached (open it), after (it inherited), or in that very instant (close the maker, and with it what
 * it passed on, and do both again). */
#include "attach.h"

#include "count.h"
#include "descriptors.h"
#include "error.h"
#include "target.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 200, MOST_RESETS = 20 };

/* A fork's record is written at its end. A clone takes 20 to 100 us; one that was recorded this much
 * after its maker was attached began after that, unless its maker lost the CPU in the middle. */
static const uint64_t CLONE_NS = 1000000;

static const struct timespec RECORD_DELAY = {.tv_nsec = 2000000};

/* ---- what is known of each thread ---- */

enum relation { UNKNOWN = 0, ATTACHED, INHERITED, OUTSIDE };

struct known {
    int32_t tid; /* 0: free */
    enum relation relation;
    uint64_t begin, end; /* ATTACHED: when its opening began and ended */
    uint64_t last_fork;  /* when it last made a thread */
    int32_t unsure_of;   /* a fork fell into the instant of attaching this maker, or 0 */
    uint32_t resets;
};

struct map {
    struct known *items;
    size_t size, used; /* size is a power of two */
};

static struct known *map_slot(const struct map *map, int32_t tid)
{
    size_t at = (uint32_t)tid * 2654435761u & (map->size - 1);
    while (map->items[at].tid != 0 && map->items[at].tid != tid)
        at = (at + 1) & (map->size - 1);
    return &map->items[at];
}

static int map_grow(struct map *map)
{
    struct map grown = {.size = map->size ? map->size * 2 : 256, .used = map->used};
    grown.items = calloc(grown.size, sizeof(*grown.items));
    if (grown.items == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of threads");
    for (size_t i = 0; i < map->size; i++)
        if (map->items[i].tid != 0)
            *map_slot(&grown, map->items[i].tid) = map->items[i];
    free(map->items);
    *map = grown;
    return 0;
}

/* The thread's entry, made where it is new; NULL without memory. */
static struct known *map_get(struct map *map, int32_t tid)
{
    if (map->used * 2 >= map->size && map_grow(map) != 0)
        return NULL;
    struct known *known = map_slot(map, tid);
    if (known->tid == 0) {
        known->tid = tid;
        map->used++;
    }
    return known;
}

/* ---- one attempt ---- */

struct attach {
    struct kp_session *session;
    struct kp_watch *watch; /* NULL in the cheap way */
    struct kp_tasks listed;
    struct map map;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int list_processes(struct attach *attach)
{
    const struct kp_target *target = &attach->session->target;
    kp_tasks_clear(&attach->listed);
    attach->session->attach.rounds++;
    for (uint32_t i = 0; i < target->n_pids; i++) {
        int rc = kp_tasks_add_process(&attach->listed, target->pids[i]);
        /* One that ended while we attached is no error, one that never was is. */
        if (rc == KP_E_NO_PROCESS && attach->session->n_tasks > 0)
            continue;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int open_thread(struct attach *attach, struct kp_task id)
{
    struct known *known = map_get(&attach->map, id.tid);
    if (known == NULL)
        return KP_E_NOMEM;
    int rc = attach->watch != NULL ? kp_watch_add(attach->watch, id.tid) : 0;
    if (rc != 0)
        return rc;
    known->begin = now_ns();
    rc = kp_session_open_task(attach->session, id);
    known->end = now_ns();
    known->relation = rc == 0 ? ATTACHED : OUTSIDE;
    return rc == KP_E_NO_PROCESS ? 0 : rc; /* gone between listing and opening */
}

static int reserve(const struct attach *attach)
{
    struct kp_session *session = attach->session;
    size_t more = attach->listed.len > session->n_tasks ? attach->listed.len - session->n_tasks : 0;
    session->attach.descriptors = (uint32_t)(session->cells_per_task * attach->listed.len);
    return kp_descriptors_reserve(session->cells_per_task * more);
}

/* ---- the cheap way ---- */

/* 1: everything is attached; 0: threads came and went meanwhile. */
static int attach_quiet(struct attach *attach)
{
    int rc = list_processes(attach);
    if (rc == 0)
        rc = reserve(attach);
    for (size_t i = 0; rc == 0 && i < attach->listed.len; i++)
        rc = open_thread(attach, attach->listed.items[i]);
    if (rc == 0)
        rc = list_processes(attach);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < attach->listed.len; i++) {
        int32_t tid = attach->listed.items[i].tid;
        const struct known *known = map_slot(&attach->map, tid);
        if (known->relation == UNKNOWN || !kp_task_readable(attach->session, tid))
            return 0;
    }
    return 1;
}

/* ---- the watched way ---- */

static enum relation relation_of_fork(const struct known *maker, uint64_t time)
{
    if (maker == NULL || maker->relation == UNKNOWN || maker->relation == OUTSIDE)
        return UNKNOWN;
    if (maker->relation == INHERITED)
        return INHERITED;
    if (time < maker->begin)
        return UNKNOWN;
    /* A thread makes one child at a time: this one was begun after the last one was recorded. */
    if (maker->last_fork >= maker->end || time >= maker->end + CLONE_NS)
        return INHERITED;
    return OUTSIDE; /* in the instant of attaching: unsure */
}

/* Works out anew who inherited, from all FORK records so far in order of time. */
static int apply_forks(struct attach *attach)
{
    const struct kp_fork *forks;
    size_t n;
    int rc = kp_watch_drain(attach->watch, &forks, &n);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < attach->map.size; i++) {
        struct known *known = &attach->map.items[i];
        if (known->relation == INHERITED)
            known->relation = UNKNOWN;
        known->last_fork = 0;
        known->unsure_of = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct known *child = map_get(&attach->map, forks[i].tid);
        if (child == NULL || map_get(&attach->map, forks[i].ptid) == NULL)
            return KP_E_NOMEM;
        child = map_slot(&attach->map, forks[i].tid);
        struct known *maker = map_slot(&attach->map, forks[i].ptid);
        enum relation relation = relation_of_fork(maker, forks[i].time);
        maker->last_fork = forks[i].time;
        /* A number used again: what was attached under it before is another thread. */
        if (child->relation == ATTACHED && forks[i].time < child->begin)
            continue;
        child->relation = relation == OUTSIDE ? INHERITED : relation;
        child->unsure_of = relation == OUTSIDE ? forks[i].ptid : 0;
    }
    return 0;
}

static void take_back(struct attach *attach, struct known *maker)
{
    kp_session_close_task(attach->session, maker->tid);
    maker->relation = UNKNOWN;
    maker->resets++;
}

/* A maker whose child was born in the instant of attaching is attached anew, so that there is no doubt.
 * Returns how many were taken back. */
static size_t settle_doubts(struct attach *attach)
{
    size_t taken = 0;
    attach->session->attach.uncertain = 0;
    for (size_t i = 0; i < attach->listed.len; i++) {
        int32_t tid = attach->listed.items[i].tid;
        const struct known *child = map_slot(&attach->map, tid);
        struct known *maker = child->unsure_of ? map_slot(&attach->map, child->unsure_of) : NULL;
        if (maker == NULL || maker->relation != ATTACHED)
            continue;
        if (maker->resets >= MOST_RESETS) {
            attach->session->attach.uncertain++;
            continue;
        }
        take_back(attach, maker);
        taken++;
    }
    return taken;
}

static size_t settle_unreadable(struct attach *attach)
{
    size_t taken = 0;
    for (size_t i = 0; i < attach->listed.len; i++) {
        struct known *known = map_slot(&attach->map, attach->listed.items[i].tid);
        if (known->relation == ATTACHED && known->resets < MOST_RESETS &&
            !kp_task_readable(attach->session, known->tid)) {
            take_back(attach, known);
            taken++;
        }
    }
    return taken;
}

static int is_covered(const struct attach *attach, int32_t tid)
{
    const struct known *known = map_slot(&attach->map, tid);
    return known->relation == ATTACHED || known->relation == INHERITED;
}

static size_t count_uncovered(const struct attach *attach)
{
    size_t n = 0;
    for (size_t i = 0; i < attach->listed.len; i++)
        n += !is_covered(attach, attach->listed.items[i].tid);
    return n;
}

/* One round: list, learn who made the new ones, open those that did not inherit. Returns how many
 * threads were opened or taken back, 0 when all is settled. */
static int attach_round(struct attach *attach)
{
    int rc = list_processes(attach);
    if (rc != 0)
        return rc;
    /* A thread shows in /proc a moment before its FORK record is written. */
    if (count_uncovered(attach) > 0)
        nanosleep(&RECORD_DELAY, NULL);
    rc = apply_forks(attach);
    if (rc != 0)
        return rc;
    size_t taken = settle_doubts(attach) + settle_unreadable(attach);
    if (taken > 0) {
        rc = apply_forks(attach);
        if (rc != 0)
            return rc;
    }
    size_t open = count_uncovered(attach);
    rc = reserve(attach);
    for (size_t i = 0; rc == 0 && i < attach->listed.len; i++)
        if (!is_covered(attach, attach->listed.items[i].tid))
            rc = open_thread(attach, attach->listed.items[i]);
    return rc != 0 ? rc : (int)(open + taken);
}

static int attach_watched(struct attach *attach)
{
    struct kp_attach_report *report = &attach->session->attach;
    report->watched = 1;
    int rc = kp_watch_create(&attach->watch);
    if (rc != 0)
        return rc;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        rc = attach_round(attach);
        if (rc <= 0)
            break;
    }
    report->missed = rc > 0 ? (uint32_t)count_uncovered(attach) : 0;
    report->lost = (uint32_t)kp_watch_lost(attach->watch);
    return rc < 0 ? rc : 0;
}

static void release(struct attach *attach)
{
    kp_watch_destroy(attach->watch);
    kp_tasks_free(&attach->listed);
    free(attach->map.items);
}

/* A relation decides nothing about threads given by number, which were opened before. */
static int start(struct attach *attach, size_t first_task)
{
    for (size_t i = first_task; i-- > 0;) {
        struct known *known = map_get(&attach->map, attach->session->tasks[i].id.tid);
        if (known == NULL)
            return KP_E_NOMEM;
        known->relation = ATTACHED;
    }
    return map_get(&attach->map, -1) == NULL ? KP_E_NOMEM : 0;
}

int kp_attach_processes(struct kp_session *session)
{
    struct attach quiet = {.session = session};
    size_t by_number = session->n_tasks;
    int rc = start(&quiet, by_number);
    if (rc == 0)
        rc = attach_quiet(&quiet);
    release(&quiet);
    if (rc == 0) {
        struct attach watched = {.session = session};
        while (session->n_tasks > by_number)
            kp_session_close_task(session, session->tasks[session->n_tasks - 1].id.tid);
        rc = start(&watched, by_number);
        if (rc == 0)
            rc = attach_watched(&watched);
        release(&watched);
    }
    if (rc < 0)
        return rc;
    if (session->n_tasks == 0)
        return kp_fail_at(KP_E_NO_PROCESS, ESRCH, -1, -1, session->target.pids[0], "it has ended");
    return 0;
}
