/* SPDX-License-Identifier: Apache-2.0
 * Reading counters: groups in one read, scaling, deltas since the last read. */
#include "count.h"

#include "error.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 3, BRIEFLY = 20, PATIENTLY = 200 };

struct reading {
    uint64_t enabled, running;
    size_t n;
    uint64_t values[KP_MOST_MEMBERS];
};

static int reads_whole_group(const struct kp_session *session, const struct kp_cell *leader)
{
    return leader->members > 1 && !session->states[leader->event].status.lone_reads;
}

static struct kp_cell *first_open(const struct kp_cell *leader)
{
    for (uint32_t i = 0; i < leader->members; i++)
        if (leader[i].fd >= 0)
            return (struct kp_cell *)&leader[i];
    return NULL;
}

/* 0, or an errno. A pinned counter that got no place reads as end of file: it did not run. */
static int read_one(int fd, struct reading *out)
{
    uint64_t words[HEAD];
    ssize_t size = read(fd, words, sizeof(words));
    memset(out, 0, offsetof(struct reading, values));
    out->n = 1;
    out->values[0] = 0;
    if (size < 0)
        return errno;
    if (size == (ssize_t)sizeof(words)) {
        out->values[0] = words[0];
        out->enabled = words[1];
        out->running = words[2];
    }
    return 0;
}

static int read_group_once(int fd, size_t opened, struct reading *out)
{
    uint64_t words[HEAD + KP_MOST_MEMBERS] = {0};
    ssize_t size = read(fd, words, (HEAD + opened) * sizeof(words[0]));
    if (size < 0)
        return errno;
    out->enabled = words[1];
    out->running = words[2];
    out->n = opened;
    memcpy(out->values, words + HEAD, opened * sizeof(words[0]));
    return 0;
}

/* A thread that ends leaves its group one event after the other, and the kernel refuses to add up
 * what it finds in between (ECHILD). That passes, where another shape of a child's group stays. */
static int read_group(int fd, size_t opened, int patience, struct reading *out)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    int failure;
    for (int i = 0; (failure = read_group_once(fd, opened, out)) == ECHILD && i < patience; i++) {
        if (i < BRIEFLY)
            sched_yield();
        else
            nanosleep(&moment, NULL);
    }
    return failure;
}

/* ---- totals: one row a cell, as the kernel has them ---- */

static int total_failed(const struct kp_session *session, const struct kp_cell *cell, int failure)
{
    int code = failure == ECHILD ? KP_E_GROUP : KP_E_SYSTEM;
    return kp_fail_at(code, failure, (int32_t)cell->event, cell->cpu,
                      session->tasks[cell->task].id.tid, "cannot read the counter");
}

static void set_total(struct kp_counts *counts, size_t row, const struct reading *reading,
                      size_t value)
{
    counts->value[row] = reading->values[value];
    counts->enabled[row] = reading->enabled;
    counts->running[row] = reading->running;
}

static int read_group_totals(const struct kp_session *session, size_t leader,
                             struct kp_counts *counts, struct reading *reading)
{
    const struct kp_cell *cells = &session->cells[leader];
    const struct kp_cell *open = first_open(cells);
    if (open == NULL)
        return 0;
    int failure = read_group(open->fd, cells->opened, PATIENTLY, reading);
    if (failure != 0)
        return total_failed(session, open, failure);
    size_t value = 0;
    for (uint32_t i = 0; i < cells->members; i++)
        if (cells[i].fd >= 0 && value < reading->n)
            set_total(counts, leader + i, reading, value++);
    return 0;
}

static int read_lone_totals(const struct kp_session *session, size_t leader,
                            struct kp_counts *counts, struct reading *reading)
{
    for (uint32_t i = 0; i < session->cells[leader].members; i++) {
        const struct kp_cell *cell = &session->cells[leader + i];
        int failure = cell->fd >= 0 ? read_one(cell->fd, reading) : 0;
        if (failure != 0)
            return total_failed(session, cell, failure);
        if (cell->fd >= 0)
            set_total(counts, leader + i, reading, 0);
    }
    return 0;
}

/* How long a group's task was on its CPU while it was to be counted; 0 where no clock tells. It is
 * read before the counters, and so is at most what they ran. */
static int read_clock(const struct kp_session *session, const struct kp_cell *leader,
                      uint64_t *there)
{
    struct reading reading = {.running = 0};
    int failure = leader->clock >= 0 ? read_one(leader->clock, &reading) : 0;
    *there = reading.running;
    return failure != 0 ? total_failed(session, leader, failure) : 0;
}

/* For one task on one CPU: leaves out the time that it was elsewhere. */
static void leave_elsewhere_out(const struct kp_session *session, size_t leader,
                                struct kp_counts *counts, uint64_t there)
{
    const struct kp_cell *cells = &session->cells[leader];
    if (session->tasks[cells->task].id.tid < 0 || cells->cpu < 0)
        return;
    for (size_t row = leader; row < leader + cells->members; row++)
        counts->enabled[row] = there > counts->running[row] ? there : counts->running[row];
}

static int read_totals(const struct kp_session *session, struct kp_counts *counts)
{
    struct reading reading;
    uint64_t there;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < session->n_cells; i += session->cells[i].members) {
        rc = read_clock(session, &session->cells[i], &there);
        if (rc == 0)
            rc = reads_whole_group(session, &session->cells[i])
                     ? read_group_totals(session, i, counts, &reading)
                     : read_lone_totals(session, i, counts, &reading);
        if (rc == 0)
            leave_elsewhere_out(session, i, counts, there);
    }
    return rc;
}

/* ---- deltas ---- */

uint64_t kp_scale(uint64_t value, uint64_t enabled, uint64_t running)
{
    if (running == 0 || enabled == running)
        return value;
    unsigned __int128 scaled = (unsigned __int128)value * enabled + running / 2;
    scaled /= running;
    return scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled;
}

/* What a total grew by; keeps the highest. A pinned counter in error reads as zeros, and clocks of
 * threads on other CPUs go back a little: that is nothing, not a negative number. */
static uint64_t growth(uint64_t *highest, uint64_t now)
{
    uint64_t before = *highest;
    if (now <= before)
        return 0;
    *highest = now;
    return now - before;
}

static void take_delta(struct kp_cell *cell, struct kp_counts *counts, size_t row)
{
    counts->value[row] = growth(&cell->value, counts->value[row]);
    counts->enabled[row] = growth(&cell->enabled, counts->enabled[row]);
    counts->running[row] = growth(&cell->running, counts->running[row]);
    counts->count[row] = kp_scale(counts->value[row], counts->enabled[row], counts->running[row]);
    counts->state[row] = counts->running[row] > 0 ? KP_COUNTED : KP_NOT_COUNTED;
}

static void fill_row(struct kp_session *session, struct kp_counts *counts, size_t row)
{
    struct kp_cell *cell = &session->cells[row];
    const struct kp_session_task *task = &session->tasks[cell->task];
    counts->event[row] = cell->event;
    counts->cpu[row] = cell->cpu;
    counts->pid[row] = task->id.pid;
    counts->tid[row] = task->id.tid;
    memcpy(counts->comm + row * 16, task->comm, 16);
    if (cell->fd >= 0)
        take_delta(cell, counts, row);
    else
        counts->state[row] = KP_NOT_SUPPORTED;
}

/* One block for all columns; the widest come first, so each is aligned. */
struct kp_counts *kp_counts_create(size_t n)
{
    struct kp_counts *counts = calloc(1, sizeof(*counts));
    char *block = calloc(n + 1, 4 * sizeof(uint64_t) + 4 * sizeof(uint32_t) + 1 + 16);
    if (counts == NULL || block == NULL) {
        free(counts);
        free(block);
        return NULL;
    }
    counts->len = n;
    counts->count = (uint64_t *)block;
    counts->value = counts->count + n;
    counts->enabled = counts->value + n;
    counts->running = counts->enabled + n;
    counts->event = (uint32_t *)(counts->running + n);
    counts->cpu = (int32_t *)(counts->event + n);
    counts->pid = counts->cpu + n;
    counts->tid = counts->pid + n;
    counts->comm = (char *)(counts->tid + n);
    counts->state = (uint8_t *)(counts->comm + 16 * n);
    return counts;
}

void kp_counts_destroy(struct kp_counts *counts)
{
    if (counts == NULL)
        return;
    free(counts->count);
    free(counts);
}

static int read_cells(struct kp_session *session, struct kp_counts **out)
{
    struct kp_counts *counts = kp_counts_create(session->n_cells);
    if (counts == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu counts", session->n_cells);
    int rc = read_totals(session, counts);
    if (rc != 0) { /* nothing was taken: the next read has it all */
        kp_counts_destroy(counts);
        return rc;
    }
    for (size_t row = 0; row < session->n_cells; row++)
        fill_row(session, counts, row);
    *out = counts;
    return 0;
}

int kp_session_read(struct kp_session *session, struct kp_counts **out)
{
    int rc = kp_session_check_owner(session);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < session->n_tasks; i++)
        if (session->tasks[i].id.tid >= 0)
            kp_task_comm(session->tasks[i].id.tid, session->tasks[i].comm);
    return read_cells(session, out);
}

int kp_session_read_task(struct kp_session *session, const struct kp_session_task *task,
                         struct kp_counts **out)
{
    struct kp_session alone = *session;
    alone.cells = &session->cells[task->first];
    alone.n_cells = task->n;
    return read_cells(&alone, out);
}

/* ---- times alone, of events that are sampled ---- */

/* How long a task was to be sampled on this cell's CPU. An event that always has room tells it
 * itself, and for others a clock does, or the mean over all CPUs: on each of them the event is
 * enabled as long as the task runs anywhere. */
static uint64_t time_there(const struct kp_session *session, const struct kp_cell *cell,
                           const struct reading *reading, uint64_t clock)
{
    const struct kp_event *event = &session->events[cell->event];
    if (session->tasks[cell->task].id.tid < 0)
        return reading->enabled;
    if (clock > 0)
        return clock;
    return kp_may_lack_room(event) ? reading->enabled / event->n_cpus : reading->running;
}

static int add_cell_times(const struct kp_session *session, struct kp_cell *cell, uint64_t clock,
                          struct kp_loss *events)
{
    struct reading reading;
    if (cell->fd < 0 || session->events[cell->event].flags & KP_EVENT_TRACKING)
        return 0;
    int failure = read_one(cell->fd, &reading);
    if (failure != 0)
        return total_failed(session, cell, failure);
    struct kp_loss *event = &events[cell->event];
    event->enabled += growth(&cell->enabled, time_there(session, cell, &reading, clock));
    event->running += growth(&cell->running, reading.running);
    return 0;
}

int kp_session_add_times(struct kp_session *session, struct kp_loss *events)
{
    uint64_t clock = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < session->n_cells; i++) {
        struct kp_cell *cell = &session->cells[i];
        if (cell->members > 0)
            rc = read_clock(session, cell, &clock);
        if (rc == 0)
            rc = add_cell_times(session, cell, clock, events);
    }
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < session->n_events; i++)
        if (events[i].enabled < events[i].running)
            events[i].enabled = events[i].running; /* divided, and read a moment apart */
    return 0;
}

int kp_task_readable(const struct kp_session *session, size_t task)
{
    struct reading reading;
    size_t end = session->tasks[task].first + session->tasks[task].n;
    for (size_t i = session->tasks[task].first; i < end; i += session->cells[i].members) {
        const struct kp_cell *leader = &session->cells[i], *open = first_open(leader);
        if (open != NULL && reads_whole_group(session, leader) &&
            read_group(open->fd, leader->opened, BRIEFLY, &reading) == ECHILD)
            return 0;
    }
    return 1;
}
