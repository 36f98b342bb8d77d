/* SPDX-License-Identifier: Apache-2.0
 * Attaching to processes that create threads meanwhile: none missed, none counted twice.
 *
 * A thread made by an attached one inherits its counters; one made by a thread not yet attached
 * does not, and an inherited thread that is opened again counts twice. Nothing is enabled yet, so
 * attaching may be repeated at no loss. First the cheap way: list, attach, list again; where
 * nothing new appeared, that was all. Otherwise the kernel's FORK records tell who made whom, and
 * when: before the maker was attached (open it), after (it inherited), or too near to tell (close
 * the maker, and with it what it passed on, and do both again).
 *
 * The order of things in the kernel's clone: the child inherits what its maker has at that moment;
 * it shows in /proc; the FORK record is written; the child runs. The maker may lose the CPU between
 * any two of them, so no length of time proves anything. What proves:
 * - a child that has run has its record written: without one, its maker was not attached;
 * - a thread makes one child after the other: a birth after an earlier one that was recorded after
 *   the maker's attaching began after it too;
 * - a maker found asleep after its attaching is in no clone: later births began later. */
#include "attach.h"

#include "count.h"
#include "descriptors.h"
#include "error.h"
#include "perf_abi.h"
#include "target.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_ATTEMPTS = 4,
    MOST_ROUNDS = 200,
    MOST_RESETS = 20,
    FEWEST_ROUNDS = 4,
    MOST_SECONDS = 10, /* where threads are made faster than they can be looked at */
    STILL = 2,         /* rounds without a change that end it; */
    PATIENCE = 10,     /* so many where a maker may still be in a clone that began before */
    PULL_EVERY = 16,
    FEW = 16 /* threads; to look at more of them takes longer than to wait */
};

/* A clone takes 20 to 100 us of its maker's time. */
static const uint64_t CLONE_NS = 1000000;

static const struct timespec ROUND_DELAY = {.tv_nsec = 2000000};

/* ---- what is known of each thread ---- */

struct known {
    int32_t tid; /* 0: free */
    /* what we did */
    int attached;
    int watched;
    uint64_t begin, end; /* when its opening began and ended */
    uint64_t clear;      /* births recorded after this began after the opening; 0: not known yet */
    int64_t turns;       /* on a CPU, at the end of its opening */
    uint32_t resets;
    uint32_t doubts;     /* rounds in which its birth was too near to its maker's opening */
    uint32_t unreadable; /* rounds in which its group had a child of another shape */
    uint32_t refused;    /* the round in which it was found to be ending */
    int ran;
    /* what the records say, worked out anew in each round */
    int alive; /* a birth is recorded, no end */
    int ended; /* since we attached it */
    int inherited;
    int late;          /* inherited, but attached before that was known */
    int32_t maker;     /* of the one that lives */
    int32_t unsure_of; /* its maker, where that was attached too near to this birth; or 0 */
    uint64_t born;
    uint64_t last_birth; /* when it last made a thread */
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

/* The thread's entry, made where it is new; NULL without memory. Moves the others. */
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
    uint64_t deadline; /* ns, as now_ns */
    uint32_t round;
    /* of this round */
    size_t changes; /* threads opened or taken back */
    size_t waiting; /* threads of which nothing can be said yet */
    size_t busy;    /* makers that were not seen outside of a clone yet */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One that ended while we attached is no error, one that never was is. */
static int unless_ended(const struct attach *attach, int rc)
{
    return rc == KP_E_NO_PROCESS && attach->session->attach.rounds > 1 ? 0 : rc;
}

static int list_threads(struct attach *attach)
{
    const struct kp_target *target = &attach->session->target;
    int rc = 0;
    kp_tasks_clear(&attach->listed);
    attach->session->attach.rounds++;
    for (uint32_t i = 0; rc == 0 && i < target->n_pids; i++)
        rc = unless_ended(attach, kp_tasks_add_process(&attach->listed, target->pids[i]));
    for (uint32_t i = 0; rc == 0 && i < target->n_tids; i++)
        rc = unless_ended(attach, kp_tasks_add_thread(&attach->listed, target->tids[i]));
    return rc;
}

static int is_covered(const struct attach *attach, int32_t tid)
{
    const struct known *known = map_slot(&attach->map, tid);
    return known->inherited || (known->attached && !known->ended);
}

static size_t count_uncovered(const struct attach *attach)
{
    size_t n = 0;
    for (size_t i = 0; i < attach->listed.len; i++)
        n += !is_covered(attach, attach->listed.items[i].tid);
    return n;
}

static int watch_thread(struct attach *attach, struct known *known)
{
    if (attach->watch == NULL || (known->watched && !known->ended))
        return 0;
    known->watched = 1;
    return kp_watch_add(attach->watch, known->tid);
}

static void note_opening(const struct attach *attach, struct known *known, uint64_t begin)
{
    known->attached = 1;
    known->ended = 0;
    known->begin = begin;
    known->end = now_ns();
    if (attach->watch == NULL)
        return;
    known->turns = kp_task_turns(known->tid);
    known->clear = kp_task_sleeps(known->tid) ? now_ns() : 0;
}

static int open_thread(struct attach *attach, struct kp_task id)
{
    struct known *known = map_get(&attach->map, id.tid);
    if (known == NULL)
        return KP_E_NOMEM;
    int rc = watch_thread(attach, known);
    if (rc != 0)
        return rc;
    uint64_t begin = now_ns();
    rc = kp_session_open_task(attach->session, id);
    if (rc == KP_E_NO_PROCESS) { /* gone between listing and opening */
        known->refused = attach->round;
        return 0;
    }
    if (rc != 0)
        return rc;
    if (known->attached) /* an earlier thread of that number */
        kp_session_close_task(attach->session, id.tid);
    note_opening(attach, known, begin);
    attach->changes++;
    return 0;
}

static int open_uncovered(struct attach *attach, int (*may_open)(const struct known *))
{
    uint64_t each = attach->session->cells_per_task +
                    (attach->watch != NULL ? kp_watch_cost(attach->watch) : 0);
    size_t n = count_uncovered(attach);
    int rc = n > 0 ? kp_descriptors_reserve(each * n) : 0;
    for (size_t i = 0; rc == 0 && i < attach->listed.len; i++) {
        struct kp_task id = attach->listed.items[i];
        if (!is_covered(attach, id.tid) && may_open(map_slot(&attach->map, id.tid)))
            rc = open_thread(attach, id);
        if (rc == 0 && attach->watch != NULL && i % PULL_EVERY == 0)
            rc = kp_watch_pull(attach->watch);
    }
    return rc;
}

/* ---- the cheap way ---- */

static int always(const struct known *known)
{
    (void)known;
    return 1;
}

/* 1 if no thread can be in the middle of making another. */
static int all_asleep(const struct attach *attach)
{
    if (attach->listed.len > FEW)
        return 0;
    for (size_t i = 0; i < attach->listed.len; i++) {
        int32_t tid = attach->listed.items[i].tid;
        if (tid != syscall(SYS_gettid) && !kp_task_sleeps(tid))
            return 0;
    }
    return 1;
}

static int all_readable(const struct kp_session *session)
{
    for (size_t i = 0; i < session->n_tasks; i++)
        if (!kp_task_readable(session, i))
            return 0;
    return 1;
}

/* 1: everything is attached; 0: threads came and went meanwhile. */
static int attach_quiet(struct attach *attach)
{
    int rc = list_threads(attach);
    if (rc == 0)
        rc = open_uncovered(attach, always);
    if (rc != 0)
        return rc;
    if (!(attach->session->flags & KP_INHERIT))
        return 1; /* what is born from now on is not asked for */
    if (!all_asleep(attach))
        nanosleep(&ROUND_DELAY, NULL);
    rc = list_threads(attach);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < attach->listed.len; i++)
        if (map_slot(&attach->map, attach->listed.items[i].tid)->tid == 0)
            return 0; /* one that we did not try to open */
    return all_readable(attach->session);
}

/* ---- who inherited ---- */

enum birth { ELSEWHERE, TOO_NEAR, INHERITS };

static enum birth kind_of_birth(const struct known *maker, uint64_t time)
{
    if (maker->inherited)
        return INHERITS;
    if (!maker->attached || maker->ended || time < maker->begin)
        return ELSEWHERE;
    if (maker->last_birth >= maker->end || (maker->clear != 0 && time > maker->clear))
        return INHERITS;
    return TOO_NEAR;
}

static int take_birth(struct attach *attach, const struct kp_fork *record)
{
    if (map_slot(&attach->map, record->ptid)->tid == 0)
        return 0; /* a stranger has nothing to pass on */
    struct known *child = map_get(&attach->map, record->tid);
    if (child == NULL)
        return KP_E_NOMEM;
    struct known *maker = map_slot(&attach->map, record->ptid);
    if (child->alive && child->maker == maker->tid)
        return 0; /* told twice: by the maker's own event and by one that it inherited */
    enum birth birth = kind_of_birth(maker, record->time);
    maker->last_birth = record->time;
    if (child->born != record->time)
        child->doubts = 0;
    child->born = record->time;
    child->maker = maker->tid;
    child->alive = 1;
    child->inherited = birth != ELSEWHERE && !(child->attached && record->time < child->begin);
    child->late = child->inherited && child->attached && !child->ended;
    child->unsure_of = child->inherited && birth == TOO_NEAR ? maker->tid : 0;
    return 0;
}

/* Its number may be used again: what was said of it holds no longer. */
static void take_end(struct attach *attach, const struct kp_fork *record)
{
    struct known *known = map_slot(&attach->map, record->tid);
    if (known->tid == 0)
        return;
    known->alive = known->inherited = known->late = 0;
    known->unsure_of = 0;
    if (known->attached && record->time >= known->begin)
        known->ended = 1;
}

static void forget_records(struct map *map)
{
    for (size_t i = 0; i < map->size; i++) {
        struct known *known = &map->items[i];
        known->alive = known->ended = known->inherited = known->late = 0;
        known->maker = known->unsure_of = 0;
        known->last_birth = 0;
    }
}

/* Works out who inherited from all records so far. They come from several rings, so a late one may
 * stand before what is known already: each time from the beginning. */
static int apply_records(struct attach *attach)
{
    const struct kp_fork *records;
    size_t n;
    int rc = kp_watch_drain(attach->watch, &records, &n);
    forget_records(&attach->map);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (records[i].ptid != 0)
            rc = take_birth(attach, &records[i]);
        else
            take_end(attach, &records[i]);
    }
    return rc;
}

/* ---- the watched way ---- */

static void take_back(struct attach *attach, struct known *known)
{
    kp_session_close_task(attach->session, known->tid);
    known->attached = known->late = 0;
    known->resets++;
    attach->changes++;
}

/* Before the records are fetched: those of a thread that has run are written. */
static int look_at_new_ones(struct attach *attach)
{
    for (size_t i = 0; i < attach->listed.len; i++) {
        int32_t tid = attach->listed.items[i].tid;
        if (is_covered(attach, tid))
            continue;
        struct known *known = map_get(&attach->map, tid);
        if (known == NULL)
            return KP_E_NOMEM;
        known->ran = kp_task_turns(tid) != 0;
    }
    return 0;
}

/* Its birth is recorded, or never will be. */
static int is_decided(const struct known *known)
{
    return known->alive || known->ran;
}

static void settle_late(struct attach *attach)
{
    for (size_t i = 0; i < attach->listed.len; i++) {
        struct known *known = map_slot(&attach->map, attach->listed.items[i].tid);
        if (known->late)
            take_back(attach, known);
    }
}

/* It was on its CPU all the time from its attaching to then, and for longer than a clone. */
static int was_busy_until(const struct known *maker, uint64_t then)
{
    return then >= maker->end + CLONE_NS && maker->turns >= 0 &&
           kp_task_turns(maker->tid) == maker->turns;
}

/* A maker that was attached too near to a birth is attached anew, unless the child soon ends. */
static void settle_doubt(struct attach *attach, struct known *child, struct known *maker)
{
    if (was_busy_until(maker, child->born)) {
        maker->clear = child->born - 1;
    } else if (child->doubts++ == 0) {
        attach->waiting++;
    } else if (maker->resets < MOST_RESETS) {
        take_back(attach, maker);
    } else {
        attach->session->attach.uncertain++;
    }
}

static void settle_doubts(struct attach *attach)
{
    attach->session->attach.uncertain = 0;
    for (size_t i = 0; i < attach->listed.len; i++) {
        struct known *child = map_slot(&attach->map, attach->listed.items[i].tid);
        struct known *maker = child->unsure_of ? map_slot(&attach->map, child->unsure_of) : NULL;
        if (maker != NULL && maker->attached) /* not taken back a moment ago */
            settle_doubt(attach, child, maker);
    }
}

/* A child that was born between the opening of a group's members makes the group unreadable. */
static void settle_unreadable(struct attach *attach)
{
    struct kp_session *session = attach->session;
    for (size_t i = session->n_tasks; i-- > 0;) {
        struct known *known = map_slot(&attach->map, session->tasks[i].id.tid);
        if (kp_task_readable(session, i))
            known->unreadable = 0;
        else if (known->unreadable++ == 0)
            attach->waiting++;
        else if (known->resets < MOST_RESETS)
            take_back(attach, known);
        else
            session->attach.uncertain++;
    }
}

/* A maker may have been attached in the middle of a clone whose child nobody has seen yet. */
static void look_at_makers(struct attach *attach)
{
    for (size_t i = 0; i < attach->listed.len; i++) {
        struct known *known = map_slot(&attach->map, attach->listed.items[i].tid);
        if (!known->attached || known->ended || known->clear != 0 || known->last_birth == 0 ||
            known->last_birth >= known->end)
            continue;
        uint64_t now = now_ns();
        if (was_busy_until(known, now))
            known->clear = now;
        else if (kp_task_sleeps(known->tid))
            known->clear = now_ns();
        else
            attach->busy++;
    }
}

static int settle(struct attach *attach)
{
    settle_late(attach);
    settle_doubts(attach);
    settle_unreadable(attach);
    return attach->changes > 0 ? apply_records(attach) : 0;
}

/* One round: list, learn who made the new ones, open those that did not inherit. */
static int attach_round(struct attach *attach)
{
    attach->changes = attach->waiting = attach->busy = 0;
    attach->round++;
    int rc = list_threads(attach);
    if (rc == 0)
        rc = look_at_new_ones(attach);
    if (rc == 0)
        rc = apply_records(attach);
    if (rc == 0)
        rc = settle(attach);
    if (rc == 0)
        rc = open_uncovered(attach, is_decided);
    if (rc == 0)
        look_at_makers(attach);
    return rc;
}

static uint32_t count_missed(const struct attach *attach)
{
    uint32_t n = 0;
    for (size_t i = 0; i < attach->listed.len; i++) {
        int32_t tid = attach->listed.items[i].tid;
        n += !is_covered(attach, tid) && map_slot(&attach->map, tid)->refused != attach->round;
    }
    return n;
}

static int may_go_on(const struct attach *attach)
{
    return attach->round < FEWEST_ROUNDS ||
           (attach->round < MOST_ROUNDS && now_ns() < attach->deadline);
}

/* 1: as well as it can be done; 0: records went lost, and what the others tell is not certain. */
static int attach_watched(struct attach *attach)
{
    struct kp_attach_report *report = &attach->session->attach;
    uint32_t calm = 0;
    report->watched = 1;
    int rc = kp_watch_create(&attach->watch);
    while (rc == 0 && may_go_on(attach)) {
        rc = attach_round(attach);
        report->missed = count_missed(attach);
        calm = attach->changes > 0 ? 0 : calm + 1;
        if (attach->waiting + report->missed == 0 && calm >= (attach->busy > 0 ? PATIENCE : STILL))
            break;
        nanosleep(&ROUND_DELAY, NULL);
    }
    if (rc != 0)
        return rc;
    report->uncertain += (uint32_t)attach->waiting;
    report->lost = (uint32_t)kp_watch_lost(attach->watch);
    return report->lost == 0 || now_ns() >= attach->deadline;
}

static void release(struct attach *attach)
{
    kp_watch_destroy(attach->watch);
    kp_tasks_free(&attach->listed);
    free(attach->map.items);
}

/* A thread of ours is never to be opened. */
static int start(struct attach *attach)
{
    struct known *left_out = map_get(&attach->map, attach->session->left_out ?: -1);
    if (left_out == NULL)
        return KP_E_NOMEM;
    left_out->attached = 1;
    return 0;
}

static int attempt(struct kp_session *session, int (*way)(struct attach *), uint64_t deadline)
{
    struct attach attach = {.session = session, .deadline = deadline};
    int rc = start(&attach);
    if (rc == 0)
        rc = way(&attach);
    release(&attach);
    return rc;
}

int kp_attach_processes(struct kp_session *session)
{
    uint64_t deadline = now_ns() + MOST_SECONDS * (uint64_t)1000000000;
    int rc = attempt(session, attach_quiet, deadline);
    for (int i = 0; rc == 0 && i < MOST_ATTEMPTS; i++) {
        kp_session_close_all(session);
        rc = attempt(session, attach_watched, deadline);
    }
    if (rc < 0)
        return rc;
    if (session->n_tasks == 0)
        return kp_fail_at(KP_E_NO_PROCESS, ESRCH, -1, -1, session->target.pids[0], "it has ended");
    session->attach.descriptors = (uint32_t)session->n_cells;
    return 0;
}

/* ---- while it is enabled ---- */

/* The kernel holds a task's counters locked while a child copies them: who opens one waits. */
static void await_children_of(int32_t tid)
{
    struct kp_attr attr = kp_dummy_attr();
    int fd = kp_perf_event_open(&attr, tid, -1, -1, KP_OPEN_CLOEXEC);
    if (fd >= 0)
        close(fd);
}

static int by_number(const void *left, const void *right)
{
    const int32_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* Every thread of the session's processes: those that inherited are no tasks of the session. */
static int list_all_threads(const struct kp_session *session, struct kp_tasks *threads)
{
    int32_t *pids = calloc(session->n_tasks + 1, sizeof(*pids));
    if (pids == NULL)
        return KP_E_NOMEM;
    for (size_t i = 0; i < session->n_tasks; i++)
        pids[i] = session->tasks[i].id.pid;
    qsort(pids, session->n_tasks, sizeof(*pids), by_number);
    for (size_t i = 0; i < session->n_tasks; i++)
        if (i == 0 || pids[i] != pids[i - 1])
            kp_tasks_add_process(threads, pids[i]); /* it may have ended */
    free(pids);
    return 0;
}

void kp_attach_await_newborn(const struct kp_session *session)
{
    struct kp_tasks threads = {.len = 0};
    int rc = list_all_threads(session, &threads);
    if (rc == 0 && (session->attach.watched || threads.len <= FEW)) {
        for (size_t i = 0; i < threads.len; i++)
            await_children_of(threads.items[i].tid);
    } else {
        nanosleep(&ROUND_DELAY, NULL);
    }
    kp_tasks_free(&threads);
}
