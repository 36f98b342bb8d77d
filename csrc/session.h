/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SESSION_H
#define KPERF_SESSION_H

#include "kperf_core.h"
#include "target.h"

#include <sys/types.h>

/* Of a thread's own counter beside its maker's: what its rows have yet to show. */
struct kp_unshown {
    uint64_t count, value;
};

/* One opened counter: an event, for a task or for everybody, on a CPU or wherever the task runs.
 * The members of a group stand behind their leader, those that the machine lacks too (fd -1). */
struct kp_cell {
    int fd;
    int32_t cpu;
    uint32_t event;
    uint32_t task;    /* index into tasks */
    uint32_t members; /* in a leader: cells of its group from here on; in a member: 0 */
    uint32_t opened;  /* in a leader: how many of those are open */
    int clock; /* in a leader: counts the time that its task is on its CPU; -1 where that is not
                  needed */
    uint64_t value, enabled, running; /* as of the last read */
    struct kp_unshown unshown;
};

enum { KP_MOST_MEMBERS = 256 };

struct kp_attr;

/* What a kind of session adds to the opening of its events; every member may be NULL. */
struct kp_session_hooks {
    void (*prepare)(void *context, const struct kp_event *event, struct kp_attr *attr);
    /* The kernel refused an event with EINVAL: 1 if it is worth another try. */
    int (*give_way)(void *context, const struct kp_event *event);
    int (*opened)(void *context, int32_t tid, uint32_t event, int32_t cpu, int fd);
    void *context;
    int counts; /* its events are read as counters */
};

struct kp_event_state {
    struct kp_event_status status;
    int no_guest_bit; /* its PMU refuses exclude_guest */
};

struct kp_session_task {
    struct kp_task id; /* -1, -1: everybody */
    uint32_t first;    /* its cells: [first, first + n) */
    uint32_t n;
    char comm[16];
};

struct kp_session {
    pid_t owner;
    uint32_t flags;
    struct kp_event *events; /* with their CPU lists, all owned */
    struct kp_event_state *states;
    int32_t *cpus;
    char **filters; /* one an event; NULL: none */
    size_t n_events;
    struct kp_target target;
    struct kp_cell *cells;
    struct kp_session_task *tasks;
    size_t n_cells, cells_room, n_tasks, tasks_room;
    uint64_t cells_per_task;
    const struct kp_session_hooks *hooks; /* NULL: counting */
    int32_t left_out;                     /* a thread of ours that is nobody's target, or 0 */
    int user_only;
    struct kp_attach_report attach;
};

/* Opens a session of another kind than counting; see kp_session_create. */
int kp_session_open(const struct kp_event *events, size_t n_events, const struct kp_target *target,
                    uint32_t flags, const struct kp_session_hooks *hooks, int32_t left_out,
                    struct kp_session **out);

/* How many rings the events need: one for each number up to the highest that an event names. CPUs
 * may be numbered with gaps, and a C library may count those alone that this process may run on. */
size_t kp_events_rings(const struct kp_event *events, size_t n_events);

/* Opens every event for a task. KP_E_NO_PROCESS: it is gone, and nothing of it stays. */
int kp_session_open_task(struct kp_session *session, struct kp_task id);

/* A session of the same events that has no tasks yet, and whose tasks pass nothing on. */
int kp_session_create_alike(const struct kp_session *model, struct kp_session **out);

/* The task of a thread, or NULL. */
struct kp_session_task *kp_session_find_task(const struct kp_session *session, int32_t tid);

/* Starts the counters of one task. */
int kp_session_enable_task(struct kp_session *session, const struct kp_session_task *task);

/* Closes a task's counters, and with them those that its children inherited. */
void kp_session_close_task(struct kp_session *session, int32_t tid);
void kp_session_close_all(struct kp_session *session);

/* Whether its PMU may be too full to count it all the time. */
int kp_may_lack_room(const struct kp_event *event);

/* A forked child must not touch its parent's counters. */
int kp_session_check_owner(const struct kp_session *session);

#endif
