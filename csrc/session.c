/* SPDX-License-Identifier: Apache-2.0
 * A set of events over CPUs and threads: opening, enabling, closing. */
#include "session.h"

#include "attach.h"
#include "descriptors.h"
#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOC_ENABLE 0x2400UL
#define IOC_DISABLE 0x2401UL
#define IOC_SET_FILTER 0x40082406UL

enum { LIFT_ABOVE = 256, EVERYBODY = -1, FELL_APART = ESTALE };

struct kp_attr kp_dummy_attr(void)
{
    return (struct kp_attr){.type = KP_TYPE_SOFTWARE,
                            .size = sizeof(struct kp_attr),
                            .config = KP_SW_DUMMY,
                            .flags = KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV};
}

int kp_perf_event_open(const struct kp_attr *attr, int32_t pid, int32_t cpu, int group_fd,
                       unsigned long flags)
{
    long fd;
    /* Interrupted: the target is just executing another program. */
    while ((fd = syscall(SYS_perf_event_open, attr, pid, cpu, group_fd, flags)) < 0 &&
           errno == EINTR)
        ;
    return (int)fd;
}

int kp_session_check_owner(const struct kp_session *session)
{
    return session->owner == getpid()
               ? 0
               : kp_fail(KP_E_FORKED, 0, "the session belongs to the process that opened it");
}

/* ---- one event's attributes ---- */

static const struct {
    uint32_t event_flag;
    uint64_t attr_flag;
} exclusions[] = {
    {KP_EVENT_EXCLUDE_USER, KP_ATTR_EXCLUDE_USER},
    {KP_EVENT_EXCLUDE_KERNEL, KP_ATTR_EXCLUDE_KERNEL},
    {KP_EVENT_EXCLUDE_HV, KP_ATTR_EXCLUDE_HV},
    {KP_EVENT_EXCLUDE_HOST, KP_ATTR_EXCLUDE_HOST},
    {KP_EVENT_EXCLUDE_GUEST, KP_ATTR_EXCLUDE_GUEST},
    {KP_EVENT_PINNED, KP_ATTR_PINNED},
};

static struct kp_attr attr_of(const struct kp_event *event)
{
    struct kp_attr attr = {
        .type = event->type,
        .size = sizeof(attr),
        .config = event->config,
        .config1 = event->config1,
        .config2 = event->config2,
        .config3 = event->config3,
        .bp_type = event->bp_type,
        .read_format = KP_FORMAT_ENABLED | KP_FORMAT_RUNNING,
        .flags = (uint64_t)event->precise << KP_ATTR_PRECISE_SHIFT,
    };
    for (size_t i = 0; i < sizeof(exclusions) / sizeof(exclusions[0]); i++)
        if (event->flags & exclusions[i].event_flag)
            attr.flags |= exclusions[i].attr_flag;
    return attr;
}

static struct kp_attr session_attr(const struct kp_session *session, size_t index, int leads,
                                   int grouped)
{
    const struct kp_event *event = &session->events[index];
    const struct kp_event_state *state = &session->states[index];
    struct kp_attr attr = attr_of(event);
    if (event->flags & KP_EVENT_HOST_BY_DEFAULT && !state->no_guest_bit)
        attr.flags |= KP_ATTR_EXCLUDE_GUEST;
    if (session->user_only)
        attr.flags |= KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV;
    if (session->flags & KP_INHERIT)
        attr.flags |= KP_ATTR_INHERIT;
    if (leads)
        attr.flags |= KP_ATTR_DISABLED; /* members follow their leader */
    else
        attr.flags &= ~KP_ATTR_PINNED;
    if (leads && session->flags & KP_ENABLE_ON_EXEC)
        attr.flags |= KP_ATTR_ENABLE_ON_EXEC;
    if (grouped && !state->status.lone_reads)
        attr.read_format |= KP_FORMAT_GROUP;
    if (session->hooks != NULL)
        session->hooks->prepare(session->hooks->context, event, &attr);
    return attr;
}

/* ---- what a failure to open means ---- */

static int lacks_event(int failure, uint32_t type)
{
    static const int always[] = {ENOENT, EOPNOTSUPP, ENODEV, ENXIO};
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        if (failure == always[i])
            return 1;
    /* A generic event that the PMU's table marks as nonsense. */
    return failure == EINVAL && (type == KP_TYPE_HARDWARE || type == KP_TYPE_HW_CACHE);
}

static const struct {
    int sys_errno;
    int code;
} open_codes[] = {
    {EACCES, KP_E_PERMISSION}, {EPERM, KP_E_PERMISSION}, {ESRCH, KP_E_NO_PROCESS},
    {EBUSY, KP_E_BUSY},        {ENOSPC, KP_E_BUSY},      {EMFILE, KP_E_FILES},
    {ENFILE, KP_E_FILES},      {ENOSYS, KP_E_KERNEL},    {E2BIG, KP_E_KERNEL},
    {ENOMEM, KP_E_NOMEM},      {EINVAL, KP_E_EVENT},     {ENOENT, KP_E_CPU},
    {EOPNOTSUPP, KP_E_CPU},    {ENODEV, KP_E_CPU},       {ENXIO, KP_E_CPU},
};

static int code_of(int sys_errno, int in_group)
{
    if (sys_errno == EINVAL && in_group)
        return KP_E_GROUP;
    for (size_t i = 0; i < sizeof(open_codes) / sizeof(open_codes[0]); i++)
        if (open_codes[i].sys_errno == sys_errno)
            return open_codes[i].code;
    return KP_E_SYSTEM;
}

static int fail_open(const struct kp_session *session, int failure, size_t event, int32_t cpu,
                     int32_t tid, int in_group)
{
    int code = code_of(failure, in_group);
    if (code == KP_E_FILES)
        return kp_descriptors_exhausted(failure, session->n_cells + session->cells_per_task);
    return kp_fail_at(code, failure, (int32_t)event, cpu, tid, "perf_event_open");
}

/* ---- opening ---- */

/* Why a member was refused that may be innocent: its task ended meanwhile (ESRCH), or made a child
 * and changed contexts with it, as the kernel does with tasks that have the same counters
 * (FELL_APART: the leader is the child's now, and all must be opened anew). Both are told in words
 * that could as well mean the event, so a dummy, which every group takes, is tried in its place. 0:
 * it is the event. */
static int group_trouble(const struct kp_attr *member, int32_t tid, int32_t cpu, int leader_fd)
{
    struct kp_attr attr = kp_dummy_attr();
    /* The kernel takes no member whose clock or inheritance is not its leader's. */
    attr.flags |= member->flags & (KP_ATTR_USE_CLOCKID | KP_ATTR_INHERIT);
    attr.clockid = member->clockid;
    int fd = kp_perf_event_open(&attr, tid, cpu, leader_fd, KP_OPEN_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno == EINVAL || errno == ENODEV)
        return FELL_APART;
    return errno == ESRCH ? ESRCH : 0;
}

/* The first descriptors may be low ones; what comes after must leave some to the host program. */
static int place(const struct kp_session *session, int fd)
{
    return session->n_cells > LIFT_ABOVE ? kp_descriptor_lift(fd) : fd;
}

/* Opens one event; gives way on what this PMU or kernel lacks. Returns a descriptor or -errno. */
static int open_one(struct kp_session *session, size_t index, const struct kp_task *id, int32_t cpu,
                    int leader_fd, int grouped)
{
    struct kp_event_state *state = &session->states[index];
    int cgroup = session->target.cgroup_fd;
    unsigned long flags = KP_OPEN_CLOEXEC | (cgroup >= 0 ? KP_OPEN_PID_CGROUP : 0);
    int32_t pid = cgroup >= 0 ? cgroup : id->tid;
    for (;;) {
        struct kp_attr attr = session_attr(session, index, leader_fd < 0, grouped);
        int fd = kp_perf_event_open(&attr, pid, cpu, leader_fd, flags);
        if (fd >= 0)
            return place(session, fd);
        int failure = errno;
        int trouble =
            leader_fd >= 0 && id->tid >= 0 ? group_trouble(&attr, pid, cpu, leader_fd) : 0;
        if (trouble != 0)
            return -trouble;
        if (failure != EINVAL)
            return -failure;
        if (session->events[index].flags & KP_EVENT_HOST_BY_DEFAULT && !state->no_guest_bit)
            state->no_guest_bit = 1;
        else if (grouped && session->flags & KP_INHERIT && !state->status.lone_reads)
            state->status.lone_reads = 1; /* kernels before 4.13 refuse inherit with group reads */
        else if (session->hooks == NULL ||
                 !session->hooks->give_way(session->hooks->context, &session->events[index]))
            return -EINVAL;
    }
}

static int mark_unsupported(struct kp_session *session, size_t index, int failure)
{
    session->states[index].status.supported = 0;
    session->states[index].status.sys_errno = failure;
    return 0;
}

static int may_be_missing(const struct kp_session *session, size_t index, int failure, int in_group)
{
    return session->flags & KP_KEEP_UNSUPPORTED && !(in_group && failure == EINVAL) &&
           lacks_event(failure, session->events[index].type);
}

static struct kp_cell *add_cell(struct kp_session *session, size_t event, int32_t cpu,
                                uint32_t task)
{
    struct kp_cell *cell = &session->cells[session->n_cells++];
    *cell =
        (struct kp_cell){.fd = -1, .clock = -1, .event = (uint32_t)event, .cpu = cpu, .task = task};
    return cell;
}

static size_t group_size(const struct kp_session *session, size_t leader)
{
    size_t n = 1;
    while (leader + n < session->n_events && session->events[leader + n].leader == leader)
        n++;
    return n;
}

static int set_filter(const struct kp_session *session, size_t index, int32_t cpu, int fd)
{
    const char *filter = session->events[index].filter;
    if (filter == NULL || ioctl(fd, IOC_SET_FILTER, filter) == 0)
        return 0;
    return kp_fail_at(KP_E_FILTER, errno, (int32_t)index, cpu, -1, "cannot set the filter");
}

static int tell_opened(const struct kp_session *session, int32_t tid, size_t index, int32_t cpu,
                       int fd)
{
    const struct kp_session_hooks *hooks = session->hooks;
    return hooks == NULL ? 0 : hooks->opened(hooks->context, tid, (uint32_t)index, cpu, fd);
}

/* Opens a group for one task on one CPU, or tells that it FELL_APART meanwhile. An event that the
 * machine lacks leaves the group smaller. */
static int try_group(struct kp_session *session, size_t leader, size_t n, uint32_t task,
                     int32_t cpu)
{
    const struct kp_task id = session->tasks[task].id;
    struct kp_cell *first = &session->cells[session->n_cells];
    int leader_fd = -1;
    for (size_t index = leader; index < leader + n; index++) {
        struct kp_cell *cell = add_cell(session, index, cpu, task);
        cell->members = index == leader ? (uint32_t)n : 0;
        if (!session->states[index].status.supported)
            continue;
        int fd = open_one(session, index, &id, cpu, leader_fd, n > 1);
        if (fd < 0 && may_be_missing(session, index, -fd, leader_fd >= 0)) {
            mark_unsupported(session, index, -fd);
            continue;
        }
        if (fd == -FELL_APART)
            return FELL_APART;
        if (fd < 0)
            return fail_open(session, -fd, index, cpu, id.tid, leader_fd >= 0);
        cell->fd = fd;
        first->opened++;
        int rc = set_filter(session, index, cpu, fd);
        if (rc == 0)
            rc = tell_opened(session, id.tid, index, cpu, fd);
        if (rc != 0)
            return rc;
        if (leader_fd < 0)
            leader_fd = fd;
    }
    return 0;
}

/* ---- time on a CPU ---- */

/* A counter of one task on one CPU is enabled wherever the task is, and running only there: the
 * difference is not the time in which the PMU was too full for it. That needs the time on that CPU,
 * which a dummy tells, as it always has room. So has all software, which needs no telling. */
int kp_may_lack_room(const struct kp_event *event)
{
    static const uint32_t always_there[] = {KP_TYPE_SOFTWARE, KP_TYPE_TRACEPOINT,
                                            KP_TYPE_BREAKPOINT};
    for (size_t i = 0; i < sizeof(always_there) / sizeof(always_there[0]); i++)
        if (event->type == always_there[i])
            return 0;
    return 1;
}

static int needs_clock(const struct kp_session *session, size_t leader)
{
    uint32_t n_cpus = session->events[leader].n_cpus;
    int has_tasks = session->target.n_pids > 0 || session->target.n_tids > 0;
    if (!has_tasks || n_cpus == 0)
        return 0;
    /* Whom samples are taken of everywhere is enabled the same time on each CPU: that tells it. */
    if (session->hooks != NULL && !session->hooks->counts &&
        n_cpus == (uint32_t)sysconf(_SC_NPROCESSORS_ONLN))
        return 0;
    for (size_t i = leader; i < leader + group_size(session, leader); i++)
        if (kp_may_lack_room(&session->events[i]))
            return 1;
    return 0;
}

static int open_clock(struct kp_session *session, struct kp_cell *leader)
{
    int32_t tid = session->tasks[leader->task].id.tid;
    if (leader->opened == 0 || !needs_clock(session, leader->event))
        return 0;
    struct kp_attr attr = kp_dummy_attr();
    attr.read_format = KP_FORMAT_ENABLED | KP_FORMAT_RUNNING;
    attr.flags |= KP_ATTR_DISABLED | (session->flags & KP_INHERIT ? KP_ATTR_INHERIT : 0) |
                  (session->flags & KP_ENABLE_ON_EXEC ? KP_ATTR_ENABLE_ON_EXEC : 0);
    int fd = kp_perf_event_open(&attr, tid, leader->cpu, -1, KP_OPEN_CLOEXEC);
    if (fd < 0)
        return fail_open(session, errno, leader->event, leader->cpu, tid, 0);
    leader->clock = place(session, fd);
    return 0;
}

/* ---- groups and tasks ---- */

static void close_cell(struct kp_cell *cell)
{
    if (cell->fd >= 0)
        close(cell->fd);
    if (cell->clock >= 0)
        close(cell->clock);
    cell->fd = cell->clock = -1;
}

static void close_cells(struct kp_session *session, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        close_cell(&session->cells[i]);
}

static int open_group(struct kp_session *session, size_t leader, size_t n, uint32_t task,
                      int32_t cpu)
{
    enum { MOST_TRIES = 100 };
    size_t first = session->n_cells;
    for (int i = 0; i < MOST_TRIES; i++) {
        int rc = try_group(session, leader, n, task, cpu);
        if (rc == 0)
            return open_clock(session, &session->cells[first]);
        if (rc != FELL_APART)
            return rc;
        close_cells(session, first, session->n_cells);
        session->n_cells = first;
    }
    return kp_fail_at(KP_E_BUSY, EAGAIN, (int32_t)leader, cpu, session->tasks[task].id.tid,
                      "the task makes threads faster than a group can be opened");
}

static int make_room(struct kp_session *session)
{
    size_t cells = session->n_cells + session->cells_per_task;
    if (session->n_tasks == session->tasks_room) {
        size_t room = session->tasks_room ? session->tasks_room * 2 : 16;
        struct kp_session_task *tasks = realloc(session->tasks, room * sizeof(*tasks));
        if (tasks == NULL)
            return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of threads");
        session->tasks = tasks;
        session->tasks_room = room;
    }
    if (cells > session->cells_room) {
        size_t room = cells > 2 * session->cells_room ? cells : 2 * session->cells_room;
        struct kp_cell *grown = realloc(session->cells, room * sizeof(*grown));
        if (grown == NULL)
            return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu counters", cells);
        session->cells = grown;
        session->cells_room = room;
    }
    return 0;
}

static int open_groups(struct kp_session *session, uint32_t task)
{
    int32_t anywhere = -1;
    int rc = 0;
    for (size_t leader = 0, n; rc == 0 && leader < session->n_events; leader += n) {
        const struct kp_event *event = &session->events[leader];
        const int32_t *cpus = event->n_cpus > 0 ? event->cpus : &anywhere;
        size_t n_cpus = event->n_cpus > 0 ? event->n_cpus : 1;
        n = group_size(session, leader);
        for (size_t i = 0; rc == 0 && i < n_cpus; i++)
            rc = open_group(session, leader, n, task, cpus[i]);
    }
    return rc;
}

int kp_session_open_task(struct kp_session *session, struct kp_task id)
{
    int rc = make_room(session);
    if (rc != 0)
        return rc;
    uint32_t index = (uint32_t)session->n_tasks++;
    struct kp_session_task *task = &session->tasks[index];
    *task = (struct kp_session_task){.id = id, .first = (uint32_t)session->n_cells};
    if (id.tid >= 0)
        kp_task_comm(id.tid, task->comm);
    rc = open_groups(session, index);
    if (rc != 0) {
        close_cells(session, task->first, session->n_cells);
        session->n_cells = task->first;
        session->n_tasks--;
        return rc;
    }
    task->n = (uint32_t)(session->n_cells - task->first);
    return 0;
}

struct kp_session_task *kp_session_find_task(const struct kp_session *session, int32_t tid)
{
    for (size_t i = 0; i < session->n_tasks; i++)
        if (session->tasks[i].id.tid == tid)
            return &session->tasks[i];
    return NULL;
}

void kp_session_close_task(struct kp_session *session, int32_t tid)
{
    struct kp_session_task *task = kp_session_find_task(session, tid);
    if (task == NULL)
        return;
    uint32_t first = task->first, n = task->n;
    size_t index = (size_t)(task - session->tasks);
    close_cells(session, first, first + n);
    memmove(&session->cells[first], &session->cells[first + n],
            (session->n_cells - first - n) * sizeof(*session->cells));
    session->n_cells -= n;
    memmove(task, task + 1, (session->n_tasks - index - 1) * sizeof(*task));
    session->n_tasks--;
    for (size_t i = index; i < session->n_tasks; i++)
        session->tasks[i].first -= n;
    for (size_t i = first; i < session->n_cells; i++)
        session->cells[i].task--;
}

void kp_session_close_all(struct kp_session *session)
{
    close_cells(session, 0, session->n_cells);
    session->n_cells = session->n_tasks = 0;
}

/* ---- creation ---- */

static int same_cpus(const struct kp_event *a, const struct kp_event *b)
{
    return a->n_cpus == b->n_cpus &&
           (a->n_cpus == 0 || memcmp(a->cpus, b->cpus, a->n_cpus * sizeof(*a->cpus)) == 0);
}

/* The cells of a session are laid out by these rules. */
static int check_group(const struct kp_event *events, size_t i)
{
    size_t leader = events[i].leader;
    if (leader == i)
        return 0;
    if (i == 0 || leader != events[i - 1].leader)
        return kp_fail_at(KP_E_ARGUMENT, 0, (int32_t)i, -1, -1, "a group must follow its leader");
    if (i - leader >= KP_MOST_MEMBERS)
        return kp_fail_at(KP_E_GROUP, 0, (int32_t)i, -1, -1, "a group of more than 256 events");
    if (!same_cpus(&events[i], &events[leader]))
        return kp_fail_at(KP_E_ARGUMENT, 0, (int32_t)i, -1, -1, "a group on different CPUs");
    return 0;
}

static int copy_events(struct kp_session *session, const struct kp_event *events, size_t n)
{
    size_t n_cpus = 0;
    if (n == 0)
        return kp_fail(KP_E_ARGUMENT, 0, "no events");
    for (size_t i = 0; i < n; i++) {
        int rc = check_group(events, i);
        if (rc != 0)
            return rc;
        n_cpus += events[i].n_cpus;
    }
    session->events = calloc(n, sizeof(*session->events));
    session->states = calloc(n, sizeof(*session->states));
    session->cpus = calloc(n_cpus + 1, sizeof(*session->cpus));
    session->filters = calloc(n, sizeof(*session->filters));
    if (session->events == NULL || session->states == NULL || session->cpus == NULL ||
        session->filters == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu events", n);
    memcpy(session->events, events, n * sizeof(*events));
    session->n_events = n;
    int32_t *cpus = session->cpus;
    for (size_t i = 0; i < n; i++) {
        struct kp_event *event = &session->events[i];
        if (event->n_cpus > 0)
            memcpy(cpus, event->cpus, event->n_cpus * sizeof(*cpus));
        event->cpus = cpus;
        cpus += event->n_cpus;
        session->states[i].status.supported = 1;
        session->cells_per_task += event->n_cpus > 0 ? event->n_cpus : 1;
    }
    for (size_t i = 0; i < n; i++) {
        if (events[i].filter != NULL &&
            (session->events[i].filter = session->filters[i] = strdup(events[i].filter)) == NULL)
            return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a filter");
    }
    for (size_t i = 0; i < n; i += group_size(session, i))
        if (needs_clock(session, i))
            session->cells_per_task += session->events[i].n_cpus;
    return 0;
}

static int reserve_for(struct kp_session *session, size_t n_tasks)
{
    uint64_t needed = session->cells_per_task * n_tasks;
    session->attach.descriptors = needed > UINT32_MAX ? UINT32_MAX : (uint32_t)needed;
    return kp_descriptors_reserve(needed);
}

static int open_threads(struct kp_session *session)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < session->target.n_tids; i++) {
        int32_t tid = session->target.tids[i], pid = kp_task_process(tid);
        rc =
            kp_session_open_task(session, (struct kp_task){.pid = pid < 0 ? tid : pid, .tid = tid});
    }
    return rc;
}

static int open_everything(struct kp_session *session)
{
    const struct kp_target *target = &session->target;
    if (target->n_pids == 0 && target->n_tids == 0) {
        int rc = reserve_for(session, 1);
        struct kp_task everybody = {.pid = EVERYBODY, .tid = EVERYBODY};
        return rc != 0 ? rc : kp_session_open_task(session, everybody);
    }
    if (target->n_pids > 0)
        return kp_attach_processes(session);
    int rc = reserve_for(session, target->n_tids);
    return rc != 0 ? rc : open_threads(session);
}

/* From here on user space alone: what happens in the kernel only is told apart as unsupported. */
static void leave_kernel_out(struct kp_session *session)
{
    session->user_only = 1;
    for (size_t i = 0; i < session->n_events; i++) {
        if (session->events[i].flags & (KP_EVENT_KERNEL_ONLY | KP_EVENT_EXCLUDE_USER))
            mark_unsupported(session, i, EACCES); /* without the kernel there is nothing left */
        else if (!(session->events[i].flags & KP_EVENT_EXCLUDE_KERNEL))
            session->states[i].status.user_only = 1;
    }
}

static int nothing_supported(const struct kp_session *session)
{
    for (size_t i = 0; i < session->n_events; i++)
        if (session->states[i].status.supported)
            return 0;
    return 1;
}

static int open_or_give_way(struct kp_session *session)
{
    int rc = open_everything(session);
    if (rc != KP_E_PERMISSION || !(session->flags & KP_USER_FALLBACK))
        return rc;
    struct kp_error refusal = *kp_last_error();
    kp_session_close_all(session);
    leave_kernel_out(session);
    if (!nothing_supported(session) && (rc = open_everything(session)) != KP_E_PERMISSION)
        return rc;
    return kp_fail_at(KP_E_PERMISSION, refusal.sys_errno, refusal.event, refusal.cpu, refusal.tid,
                      refusal.message);
}

int kp_session_create(const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, uint32_t flags, struct kp_session **out)
{
    return kp_session_open(events, n_events, target, flags, NULL, 0, out);
}

int kp_session_open(const struct kp_event *events, size_t n_events, const struct kp_target *target,
                    uint32_t flags, const struct kp_session_hooks *hooks, int32_t left_out,
                    struct kp_session **out)
{
    struct kp_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session");
    session->owner = getpid();
    session->flags = flags;
    session->target = *target;
    session->hooks = hooks;
    session->left_out = left_out;
    int rc = copy_events(session, events, n_events);
    if (rc == 0)
        rc = open_or_give_way(session);
    session->target.pids = session->target.tids = NULL; /* the caller's */
    if (rc != 0) {
        kp_session_destroy(session);
        return rc;
    }
    *out = session;
    return 0;
}

int kp_session_create_alike(const struct kp_session *model, struct kp_session **out)
{
    struct kp_session *session = calloc(1, sizeof(*session));
    struct kp_event *events = calloc(model->n_events, sizeof(*events));
    int rc = session == NULL || events == NULL
                 ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session")
                 : 0;
    if (rc == 0) {
        memcpy(events, model->events, model->n_events * sizeof(*events));
        for (size_t i = 0; i < model->n_events; i++)
            if (events[i].flags & KP_EVENT_TRACKING)
                events[i].n_cpus = 0; /* one cell, which stays closed */
        session->owner = model->owner;
        session->flags = model->flags & ~(uint32_t)(KP_INHERIT | KP_ENABLE_ON_EXEC);
        session->target = model->target;
        session->user_only = model->user_only;
        rc = copy_events(session, events, model->n_events);
    }
    for (size_t i = 0; rc == 0 && i < model->n_events; i++) {
        session->states[i] = model->states[i];
        if (events[i].flags & KP_EVENT_TRACKING)
            session->states[i].status.supported = 0;
    }
    free(events);
    if (rc != 0) {
        kp_session_destroy(session);
        return rc;
    }
    *out = session;
    return 0;
}

void kp_session_destroy(struct kp_session *session)
{
    if (session == NULL)
        return;
    kp_session_close_all(session);
    free(session->cells);
    free(session->tasks);
    free(session->events);
    free(session->states);
    free(session->cpus);
    for (size_t i = 0; session->filters != NULL && i < session->n_events; i++)
        free(session->filters[i]);
    free(session->filters);
    free(session);
}

void kp_session_abandon(struct kp_session *session)
{
    close_cells(session, 0, session->n_cells);
}

size_t kp_events_rings(const struct kp_event *events, size_t n_events)
{
    enum { MOST_CPUS = 1 << 16 };
    int32_t highest = 0;
    for (size_t i = 0; i < n_events; i++)
        for (uint32_t at = 0; at < events[i].n_cpus; at++)
            if (events[i].cpus[at] > highest && events[i].cpus[at] < MOST_CPUS)
                highest = events[i].cpus[at];
    return (size_t)highest + 1;
}

/* ---- use ---- */

/* The clock runs within the time that its counter is enabled, so that the share is at most the
 * whole. */
static int switch_one(int fd, int clock, unsigned long request)
{
    int first = request == IOC_ENABLE ? fd : clock;
    int second = request == IOC_ENABLE ? clock : fd;
    if (first >= 0 && ioctl(first, request, 0) != 0)
        return -1;
    return second >= 0 ? ioctl(second, request, 0) : 0;
}

static int on_leaders(struct kp_session *session, size_t from, size_t to, unsigned long request,
                      const char *what)
{
    int rc = kp_session_check_owner(session), leading = -1, clock = -1;
    for (size_t i = from; rc == 0 && i < to; i++) {
        struct kp_cell *cell = &session->cells[i];
        if (cell->members > 0) {
            leading = 1; /* the first open cell of each group leads it */
            clock = cell->clock;
        }
        if (cell->fd < 0 || leading != 1)
            continue;
        leading = 0;
        if (switch_one(cell->fd, clock, request) != 0)
            rc = kp_fail_at(KP_E_SYSTEM, errno, (int32_t)cell->event, cell->cpu,
                            session->tasks[cell->task].id.tid, what);
    }
    return rc;
}

static int on_every_leader(struct kp_session *session, unsigned long request, const char *what)
{
    return on_leaders(session, 0, session->n_cells, request, what);
}

int kp_session_enable_task(struct kp_session *session, const struct kp_session_task *task)
{
    return on_leaders(session, task->first, task->first + task->n, IOC_ENABLE, "cannot enable");
}

/* A newborn takes over the state that its maker's counter had a moment before it is linked to the
 * one that an ioctl goes through: where the maker itself inherited, the ioctl may miss the newborn,
 * and with it all that it makes later. So it is done again when those are linked, and once more for
 * what they made meanwhile where threads come and go. */
static int switch_all(struct kp_session *session, unsigned long request, const char *what)
{
    int again = session->attach.watched ? 2 : 1;
    int rc = on_every_leader(session, request, what);
    if (!(session->flags & KP_INHERIT) || session->n_tasks == 0 || session->tasks[0].id.tid < 0)
        return rc;
    for (int i = 0; rc == 0 && i < again; i++) {
        kp_attach_await_newborn(session);
        rc = on_every_leader(session, request, what);
    }
    return rc;
}

int kp_session_enable(struct kp_session *session)
{
    return switch_all(session, IOC_ENABLE, "cannot enable");
}

int kp_session_disable(struct kp_session *session)
{
    return switch_all(session, IOC_DISABLE, "cannot disable");
}

int kp_session_event_status(const struct kp_session *session, size_t event,
                            struct kp_event_status *out)
{
    if (event >= session->n_events)
        return kp_fail(KP_E_ARGUMENT, 0, "no event %zu", event);
    *out = session->states[event].status;
    return 0;
}

int kp_session_attach_report(const struct kp_session *session, struct kp_attach_report *out)
{
    *out = session->attach;
    return 0;
}

int kp_event_probe(const struct kp_event *event)
{
    struct kp_attr attr = attr_of(event);
    int32_t cpu = event->n_cpus > 0 ? event->cpus[0] : -1;
    attr.flags |= KP_ATTR_DISABLED;
    int fd = kp_perf_event_open(&attr, cpu >= 0 ? -1 : 0, cpu, -1, KP_OPEN_CLOEXEC);
    if (fd < 0)
        return kp_fail_at(code_of(errno, 0), errno, 0, cpu, -1, "perf_event_open");
    close(fd);
    return 0;
}
