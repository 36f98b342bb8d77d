/* SPDX-License-Identifier: Apache-2.0
 * Address spaces and thread names over time, from scans of /proc and from MMAP2, COMM, FORK and
 * EXIT.
 *
 * The records of a process may lie in several CPUs' rings and come in any order, so they are kept
 * as they come and put in order before they are used. A scan tells how a process was at some
 * moment; it holds from the last exec or fork before that moment on. */
#include "space.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- growing arrays ---- */

struct array {
    void *items;
    size_t len, room;
};

static void *append(struct array *array, size_t width)
{
    if (array->len == array->room) {
        size_t room = array->room ? array->room * 2 : 16;
        void *items = realloc(array->items, room * width);
        if (items == NULL) {
            kp_fail(KP_E_NOMEM, ENOMEM, "no memory for address spaces");
            return NULL;
        }
        array->items = items;
        array->room = room;
    }
    void *item = (char *)array->items + array->len++ * width;
    memset(item, 0, width);
    return item;
}

/* ---- what is kept ---- */

/* A record, or a line of a scan. */
struct event {
    uint64_t time;
    uint64_t taken; /* as it came: a scan's time is dated back */
    uint64_t order; /* among equals, as they came */
    enum kp_side_kind kind;
    int32_t pid, tid, ppid, ptid;
    uint32_t text;    /* a name */
    uint32_t mapping; /* KP_SIDE_MAP */
    int scanned;
};

/* A mapping in a space: from when it holds there (a child has its parent's). */
struct placed {
    uint64_t start, end, time;
    uint64_t taken; /* when it was told */
    uint64_t reach; /* the largest end up to here, in order of start */
    uint32_t mapping;
};

struct space {
    int32_t pid;
    uint64_t begin;
    struct array placed;   /* struct placed */
    struct array replaced; /* uint64_t: when a mapping took the place of another */
};

struct naming {
    int32_t tid;
    uint32_t text;
    uint64_t time;
    size_t order; /* among equals, as they came: qsort need not keep it */
};

struct kp_spaces {
    struct kp_strings strings;
    struct array events;   /* struct event */
    struct array mappings; /* struct kp_mapping */
    struct array spaces;   /* struct space, by pid and begin once indexed */
    struct array namings;  /* struct naming, by tid and time once indexed */
    size_t indexed;        /* events that the index knows of */
    size_t settled;        /* events that the last settling left */
};

enum { MOST_NAME_BYTES = 1 << 28 };

int kp_spaces_create(struct kp_spaces **out)
{
    struct kp_spaces *spaces = calloc(1, sizeof(*spaces));
    if (spaces == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for address spaces");
    int rc = kp_strings_create(&spaces->strings, MOST_NAME_BYTES);
    if (rc != 0) {
        free(spaces);
        return rc;
    }
    *out = spaces;
    return 0;
}

static void forget_index(struct kp_spaces *spaces)
{
    struct space *all = spaces->spaces.items;
    for (size_t i = 0; i < spaces->spaces.len; i++) {
        free(all[i].placed.items);
        free(all[i].replaced.items);
    }
    spaces->spaces.len = 0;
    spaces->namings.len = 0;
}

void kp_spaces_destroy(struct kp_spaces *spaces)
{
    if (spaces == NULL)
        return;
    forget_index(spaces);
    free(spaces->spaces.items);
    free(spaces->namings.items);
    free(spaces->events.items);
    free(spaces->mappings.items);
    kp_strings_destroy(&spaces->strings);
    free(spaces);
}

struct kp_strings *kp_spaces_strings(struct kp_spaces *spaces)
{
    return &spaces->strings;
}

const struct kp_mapping *kp_spaces_mappings(const struct kp_spaces *spaces, size_t *n)
{
    *n = spaces->mappings.len;
    return spaces->mappings.items;
}

/* ---- taking ---- */

static int add_mapping(struct kp_spaces *spaces, const struct kp_side *side, uint32_t path,
                       uint32_t *out)
{
    struct kp_mapping *mapping = append(&spaces->mappings, sizeof(*mapping));
    if (mapping == NULL)
        return KP_E_NOMEM;
    *mapping = (struct kp_mapping){
        .start = side->start,
        .end = side->length > UINT64_MAX - side->start ? UINT64_MAX : side->start + side->length,
        .offset = side->offset,
        .time = side->time,
        .inode = side->inode,
        .device_major = side->device_major,
        .device_minor = side->device_minor,
        .pid = side->pid,
        .path = path,
        .build_id_size = side->build_id_size,
    };
    memcpy(mapping->build_id, side->build_id, sizeof(mapping->build_id));
    *out = (uint32_t)(spaces->mappings.len - 1);
    return 0;
}

static int add_event(struct kp_spaces *spaces, const struct kp_side *side, int scanned)
{
    uint32_t text = 0, mapping = 0;
    int rc = kp_strings_add(&spaces->strings, side->name == NULL ? "" : side->name, side->name_size,
                            &text);
    if (rc == 0 && side->kind == KP_SIDE_MAP)
        rc = add_mapping(spaces, side, text, &mapping);
    if (rc != 0)
        return rc;
    struct event *event = append(&spaces->events, sizeof(*event));
    if (event == NULL)
        return KP_E_NOMEM;
    *event = (struct event){.time = side->time,
                            .taken = side->time,
                            .order = spaces->events.len,
                            .kind = side->kind,
                            .pid = side->pid,
                            .tid = side->tid,
                            .ppid = side->ppid,
                            .ptid = side->ptid,
                            .text = text,
                            .mapping = mapping,
                            .scanned = scanned};
    return 0;
}

int kp_spaces_add(struct kp_spaces *spaces, const struct kp_side *side)
{
    return add_event(spaces, side, 0);
}

int kp_spaces_add_scanned(struct kp_spaces *spaces, const struct kp_side *side)
{
    return add_event(spaces, side, 1);
}

/* ---- order ---- */

static int is_boundary(const struct event *event)
{
    return event->kind == KP_SIDE_EXEC ||
           (event->kind == KP_SIDE_FORK && event->pid != event->ppid);
}

/* What was scanned is dated back to the beginning of its space, and must come behind it. */
static int by_time(const void *left, const void *right)
{
    const struct event *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (is_boundary(a) != is_boundary(b))
        return is_boundary(a) ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

/* Where a process's space begins anew. */
struct boundary {
    int32_t pid;
    uint64_t time;
};

static int by_pid(const void *left, const void *right)
{
    const struct boundary *a = left, *b = right;
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    return (a->time > b->time) - (a->time < b->time);
}

static uint64_t boundary_before(const struct array *boundaries, int32_t pid, uint64_t time)
{
    const struct boundary *all = boundaries->items;
    size_t low = 0, high = boundaries->len;
    struct boundary key = {.pid = pid, .time = time};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_pid(&all[middle], &key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && all[low - 1].pid == pid ? all[low - 1].time : 0;
}

/* A scan holds since the space began; a scanned mapping or name is dated back to then. */
static int date_scans_back(struct kp_spaces *spaces)
{
    struct array boundaries = {0};
    struct event *events = spaces->events.items;
    for (size_t i = 0; i < spaces->events.len; i++) {
        if (!is_boundary(&events[i]))
            continue;
        struct boundary *boundary = append(&boundaries, sizeof(*boundary));
        if (boundary == NULL) {
            free(boundaries.items);
            return KP_E_NOMEM;
        }
        *boundary = (struct boundary){.pid = events[i].pid, .time = events[i].time};
    }
    if (boundaries.len > 0)
        qsort(boundaries.items, boundaries.len, sizeof(struct boundary), by_pid);
    for (size_t i = 0; i < spaces->events.len; i++)
        if (events[i].scanned)
            events[i].time = boundary_before(&boundaries, events[i].pid, events[i].taken);
    free(boundaries.items);
    return 0;
}

/* ---- spaces ---- */

/* The latest of something by pid or tid, such as its space, found by hash. */
struct latest {
    int32_t *pids; /* 0: free */
    size_t *values;
    size_t size, used;
};

static size_t latest_slot(const struct latest *latest, int32_t pid)
{
    size_t at = (uint32_t)pid * 2654435761u & (latest->size - 1);
    while (latest->pids[at] != 0 && latest->pids[at] != pid)
        at = (at + 1) & (latest->size - 1);
    return at;
}

static int latest_grow(struct latest *latest)
{
    struct latest grown = {.size = latest->size ? latest->size * 2 : 1024, .used = latest->used};
    grown.pids = calloc(grown.size, sizeof(*grown.pids));
    grown.values = calloc(grown.size, sizeof(*grown.values));
    if (grown.pids == NULL || grown.values == NULL) {
        free(grown.pids);
        free(grown.values);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for address spaces");
    }
    for (size_t i = 0; i < latest->size; i++) {
        if (latest->pids[i] == 0)
            continue;
        size_t at = latest_slot(&grown, latest->pids[i]);
        grown.pids[at] = latest->pids[i];
        grown.values[at] = latest->values[i];
    }
    free(latest->pids);
    free(latest->values);
    *latest = grown;
    return 0;
}

static int latest_set(struct latest *latest, int32_t pid, size_t value)
{
    if (latest->used * 2 >= latest->size && latest_grow(latest) != 0)
        return KP_E_NOMEM;
    size_t at = latest_slot(latest, pid);
    latest->used += latest->pids[at] == 0;
    latest->pids[at] = pid;
    latest->values[at] = value;
    return 0;
}

/* NULL where there is none. */
static const size_t *latest_get(const struct latest *latest, int32_t pid)
{
    if (latest->size == 0)
        return NULL;
    size_t at = latest_slot(latest, pid);
    return latest->pids[at] == pid ? &latest->values[at] : NULL;
}

static void latest_free(struct latest *latest)
{
    free(latest->pids);
    free(latest->values);
}

static struct space *space_of(const struct kp_spaces *spaces, const struct latest *latest,
                              int32_t pid)
{
    const size_t *number = latest_get(latest, pid);
    return number == NULL ? NULL : &((struct space *)spaces->spaces.items)[*number];
}

static struct space *begin_space(struct kp_spaces *spaces, struct latest *latest, int32_t pid,
                                 uint64_t time)
{
    if (latest_set(latest, pid, spaces->spaces.len) != 0)
        return NULL;
    struct space *space = append(&spaces->spaces, sizeof(*space));
    if (space == NULL)
        return NULL;
    space->pid = pid;
    space->begin = time;
    return space;
}

static int overlaps(const struct space *space, uint64_t start, uint64_t end)
{
    const struct placed *placed = space->placed.items;
    for (size_t i = 0; i < space->placed.len; i++)
        if (placed[i].start < end && start < placed[i].end)
            return 1;
    return 0;
}

static int place(struct kp_spaces *spaces, struct space *space, const struct event *event)
{
    const struct kp_mapping *mapping =
        &((struct kp_mapping *)spaces->mappings.items)[event->mapping];
    if (overlaps(space, mapping->start, mapping->end)) {
        uint64_t *when = append(&space->replaced, sizeof(*when));
        if (when == NULL)
            return KP_E_NOMEM;
        *when = event->time;
    }
    struct placed *placed = append(&space->placed, sizeof(*placed));
    if (placed == NULL)
        return KP_E_NOMEM;
    *placed = (struct placed){.start = mapping->start,
                              .end = mapping->end,
                              .time = event->time,
                              .taken = event->taken,
                              .mapping = event->mapping};
    return 0;
}

/* A child begins with what its parent had. */
static int inherit_space(struct kp_spaces *spaces, struct latest *latest, const struct event *event)
{
    if (begin_space(spaces, latest, event->pid, event->time) == NULL)
        return KP_E_NOMEM;
    struct space *child = space_of(spaces, latest, event->pid);
    const struct space *parent = space_of(spaces, latest, event->ppid);
    if (parent == NULL || parent == child)
        return 0;
    const struct placed *placed = parent->placed.items;
    for (size_t i = 0; i < parent->placed.len; i++) {
        struct placed *copy = append(&child->placed, sizeof(*copy));
        if (copy == NULL)
            return KP_E_NOMEM;
        *copy = placed[i];
    }
    for (size_t i = 0; i < parent->replaced.len; i++) {
        uint64_t *when = append(&child->replaced, sizeof(*when));
        if (when == NULL)
            return KP_E_NOMEM;
        *when = ((uint64_t *)parent->replaced.items)[i];
    }
    return 0;
}

static int apply_to_spaces(struct kp_spaces *spaces, struct latest *latest,
                           const struct event *event)
{
    if (event->kind == KP_SIDE_EXEC)
        return begin_space(spaces, latest, event->pid, event->time) == NULL ? KP_E_NOMEM : 0;
    if (event->kind == KP_SIDE_FORK && event->pid != event->ppid)
        return inherit_space(spaces, latest, event);
    if (event->kind != KP_SIDE_MAP)
        return 0;
    struct space *space = space_of(spaces, latest, event->pid);
    if (space == NULL)
        space = begin_space(spaces, latest, event->pid, 0);
    return space == NULL ? KP_E_NOMEM : place(spaces, space, event);
}

static int spaces_by_pid(const void *left, const void *right)
{
    const struct space *a = left, *b = right;
    if (a->pid != b->pid)
        return a->pid < b->pid ? -1 : 1;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

static int placed_by_start(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->time > b->time) - (a->time < b->time);
}

static void sort_space(struct space *space)
{
    struct placed *placed = space->placed.items;
    uint64_t reach = 0;
    if (space->placed.len > 1)
        qsort(placed, space->placed.len, sizeof(*placed), placed_by_start);
    for (size_t i = 0; i < space->placed.len; i++) {
        reach = placed[i].end > reach ? placed[i].end : reach;
        placed[i].reach = reach;
    }
}

/* ---- names ---- */

static int name_thread(struct kp_spaces *spaces, int32_t tid, uint32_t text, uint64_t time)
{
    struct naming *naming = append(&spaces->namings, sizeof(*naming));
    if (naming == NULL)
        return KP_E_NOMEM;
    *naming = (struct naming){.tid = tid, .text = text, .time = time, .order = spaces->namings.len};
    return 0;
}

static int namings_by_tid(const void *left, const void *right)
{
    const struct naming *a = left, *b = right;
    if (a->tid != b->tid)
        return a->tid < b->tid ? -1 : 1;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

/* While the index is built, the namings are in order of time: the last one counts. */
static uint32_t last_name(const struct latest *names, int32_t tid)
{
    const size_t *text = latest_get(names, tid);
    return text == NULL ? 0 : (uint32_t)*text;
}

static int apply_to_names(struct kp_spaces *spaces, struct latest *names, const struct event *event)
{
    uint32_t text = event->text;
    if (event->kind == KP_SIDE_FORK)
        text = last_name(names, event->ptid);
    else if (event->kind != KP_SIDE_COMM && event->kind != KP_SIDE_EXEC)
        return 0;
    if (event->tid <= 0)
        return 0;
    int rc = latest_set(names, event->tid, text);
    return rc != 0 ? rc : name_thread(spaces, event->tid, text, event->time);
}

int kp_spaces_index(struct kp_spaces *spaces)
{
    struct latest latest = {0}, names = {0};
    if (spaces->indexed == spaces->events.len)
        return 0; /* nothing was told since */
    forget_index(spaces);
    spaces->indexed = 0;
    int rc = date_scans_back(spaces);
    struct event *events = spaces->events.items;
    if (rc == 0 && spaces->events.len > 1)
        qsort(events, spaces->events.len, sizeof(*events), by_time);
    for (size_t i = 0; rc == 0 && i < spaces->events.len; i++) {
        rc = apply_to_spaces(spaces, &latest, &events[i]);
        if (rc == 0)
            rc = apply_to_names(spaces, &names, &events[i]);
    }
    latest_free(&latest);
    latest_free(&names);
    struct space *all = spaces->spaces.items;
    for (size_t i = 0; i < spaces->spaces.len; i++)
        sort_space(&all[i]);
    if (spaces->spaces.len > 1)
        qsort(all, spaces->spaces.len, sizeof(*all), spaces_by_pid);
    if (spaces->namings.len > 1)
        qsort(spaces->namings.items, spaces->namings.len, sizeof(struct naming), namings_by_tid);
    if (rc == 0)
        spaces->indexed = spaces->events.len;
    return rc;
}

/* ---- settling ---- */

/* A thread as it is at the horizon. */
struct life {
    int32_t tid, pid;
    uint64_t named;
    uint32_t text;
    int ended;
};

struct settling {
    struct kp_spaces *old, *fresh;
    uint64_t horizon;
    struct array lives;   /* struct life */
    struct latest by_tid; /* numbers in lives */
    struct latest execs;  /* by pid: when it last became another program */
    struct latest living; /* by pid: how many of its threads live */
};

static int is_settled(const struct settling *settling, uint64_t time, uint64_t taken)
{
    return time <= settling->horizon && taken <= settling->horizon;
}

static struct life *life_of(struct settling *settling, int32_t tid)
{
    const size_t *number = latest_get(&settling->by_tid, tid);
    if (number != NULL)
        return &((struct life *)settling->lives.items)[*number];
    if (latest_set(&settling->by_tid, tid, settling->lives.len) != 0)
        return NULL;
    struct life *life = append(&settling->lives, sizeof(*life));
    if (life != NULL)
        life->tid = tid;
    return life;
}

static int live_through(struct settling *settling, const struct event *event)
{
    if (event->kind == KP_SIDE_MAP || event->tid <= 0)
        return 0;
    const size_t *maker = latest_get(&settling->by_tid, event->ptid);
    uint32_t text = event->text;
    if (event->kind == KP_SIDE_FORK)
        text = maker == NULL ? 0 : ((struct life *)settling->lives.items)[*maker].text;
    struct life *life = life_of(settling, event->tid);
    if (life == NULL)
        return KP_E_NOMEM;
    life->pid = event->pid;
    life->ended = event->kind == KP_SIDE_EXIT;
    if (!life->ended) {
        life->text = text;
        life->named = event->time;
    }
    return event->kind == KP_SIDE_EXEC ? latest_set(&settling->execs, event->pid, event->time) : 0;
}

/* An exec leaves one thread of its process, under the process's number; what becomes of the number
 * that it had is not told. */
static int is_alive(const struct settling *settling, const struct life *life)
{
    const size_t *exec = latest_get(&settling->execs, life->pid);
    return !life->ended && (life->tid == life->pid || exec == NULL || life->named >= *exec);
}

static int keep_names(struct settling *settling)
{
    const struct life *lives = settling->lives.items;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < settling->lives.len; i++) {
        const size_t *before = latest_get(&settling->living, lives[i].pid);
        int alive = is_alive(settling, &lives[i]);
        rc = latest_set(&settling->living, lives[i].pid,
                        (before == NULL ? 0 : *before) + (size_t)alive);
        if (rc != 0 || !alive)
            continue;
        const char *name = kp_strings_text(&settling->old->strings, lives[i].text);
        struct kp_side side = {.kind = KP_SIDE_COMM,
                               .time = lives[i].named,
                               .pid = lives[i].pid,
                               .tid = lives[i].tid,
                               .name = name,
                               .name_size = strlen(name)};
        rc = kp_spaces_add(settling->fresh, &side);
    }
    return rc;
}

static struct kp_side side_of_mapping(const struct kp_spaces *spaces, uint32_t number)
{
    const struct kp_mapping *mapping = &((struct kp_mapping *)spaces->mappings.items)[number];
    struct kp_side side = {.kind = KP_SIDE_MAP,
                           .time = mapping->time,
                           .pid = mapping->pid,
                           .tid = mapping->pid,
                           .start = mapping->start,
                           .length = mapping->end - mapping->start,
                           .offset = mapping->offset,
                           .inode = mapping->inode,
                           .device_major = mapping->device_major,
                           .device_minor = mapping->device_minor,
                           .build_id_size = mapping->build_id_size,
                           .name = kp_strings_text(&spaces->strings, mapping->path)};
    memcpy(side.build_id, mapping->build_id, sizeof(side.build_id));
    side.name_size = strlen(side.name);
    return side;
}

/* Whether a later mapping has taken all of a mapping's place; one at the same start, as a JIT's. */
static int is_hidden(const struct settling *settling, const struct placed *placed, size_t i,
                     size_t len)
{
    for (size_t later = i + 1; later < len && placed[later].start == placed[i].start; later++)
        if (placed[later].end >= placed[i].end &&
            is_settled(settling, placed[later].time, placed[later].taken))
            return 1;
    return 0;
}

static int keep_space(struct settling *settling, const struct space *space)
{
    const struct placed *placed = space->placed.items;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < space->placed.len; i++) {
        if (!is_settled(settling, placed[i].time, placed[i].taken) ||
            is_hidden(settling, placed, i, space->placed.len))
            continue;
        struct kp_side side = side_of_mapping(settling->old, placed[i].mapping);
        side.time = placed[i].time;
        side.pid = side.tid = space->pid;
        rc = kp_spaces_add(settling->fresh, &side);
    }
    return rc;
}

/* Of each process that lives, the space that it has at the horizon. */
static int keep_spaces(struct settling *settling)
{
    const struct space *all = settling->old->spaces.items;
    size_t n = settling->old->spaces.len;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const size_t *living = latest_get(&settling->living, all[i].pid);
        int over =
            i + 1 < n && all[i + 1].pid == all[i].pid && all[i + 1].begin <= settling->horizon;
        int ended = living != NULL && *living == 0;
        if (all[i].begin <= settling->horizon && !over && !ended)
            rc = keep_space(settling, &all[i]);
    }
    return rc;
}

static int keep_later(struct settling *settling)
{
    const struct event *events = settling->old->events.items;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < settling->old->events.len; i++) {
        const struct event *event = &events[i];
        if (is_settled(settling, event->time, event->taken))
            continue;
        const char *name = kp_strings_text(&settling->old->strings, event->text);
        struct kp_side side = {.name = name, .name_size = strlen(name)};
        if (event->kind == KP_SIDE_MAP)
            side = side_of_mapping(settling->old, event->mapping);
        side.kind = event->kind;
        side.time = event->taken;
        side.pid = event->pid;
        side.tid = event->tid;
        side.ppid = event->ppid;
        side.ptid = event->ptid;
        rc = add_event(settling->fresh, &side, event->scanned);
    }
    return rc;
}

static int settle(struct settling *settling)
{
    const struct event *events = settling->old->events.items;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < settling->old->events.len; i++)
        if (is_settled(settling, events[i].time, events[i].taken))
            rc = live_through(settling, &events[i]);
    if (rc == 0)
        rc = keep_names(settling);
    if (rc == 0)
        rc = keep_spaces(settling);
    if (rc == 0)
        rc = keep_later(settling);
    free(settling->lives.items);
    latest_free(&settling->by_tid);
    latest_free(&settling->execs);
    latest_free(&settling->living);
    return rc;
}

int kp_spaces_settle(struct kp_spaces *spaces, uint64_t horizon)
{
    struct settling settling = {.old = spaces, .horizon = horizon};
    if (spaces->events.len < KP_SETTLE_ABOVE || spaces->events.len / 2 < spaces->settled)
        return 0;
    int rc = kp_spaces_create(&settling.fresh);
    if (rc == 0)
        rc = settle(&settling);
    if (rc == 0) {
        struct kp_spaces old = *spaces;
        *spaces = *settling.fresh;
        *settling.fresh = old;
        spaces->settled = spaces->events.len;
    }
    kp_spaces_destroy(settling.fresh);
    return rc;
}

/* ---- look-ups ---- */

static uint32_t task_kind(enum kp_side_kind kind)
{
    static const uint32_t kinds[] = {[KP_SIDE_MAP] = KP_TASK_MAP,
                                     [KP_SIDE_COMM] = KP_TASK_COMM,
                                     [KP_SIDE_EXEC] = KP_TASK_EXEC,
                                     [KP_SIDE_FORK] = KP_TASK_FORK,
                                     [KP_SIDE_EXIT] = KP_TASK_EXIT};
    return kinds[kind];
}

int kp_spaces_task_events(const struct kp_spaces *spaces, struct kp_task_event **out, size_t *n)
{
    const struct event *events = spaces->events.items;
    struct kp_task_event *copies = calloc(spaces->events.len + 1, sizeof(*copies));
    if (copies == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu records of processes",
                       spaces->events.len);
    for (size_t i = 0; i < spaces->events.len; i++)
        copies[i] = (struct kp_task_event){
            .time = events[i].time,
            .kind = task_kind(events[i].kind),
            .pid = events[i].pid,
            .tid = events[i].tid,
            .ppid = events[i].ppid,
            .ptid = events[i].ptid,
            .value = events[i].kind == KP_SIDE_MAP ? events[i].mapping : events[i].text};
    *out = copies;
    *n = spaces->events.len;
    return 0;
}

/* How many of the times, which are in order, are not later: a JIT replaces mappings by thousands.
 */
static uint32_t count_up_to(const struct array *times, uint64_t time)
{
    const uint64_t *all = times->items;
    size_t low = 0, high = times->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle] <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

int64_t kp_spaces_find(const struct kp_spaces *spaces, int32_t pid, uint64_t time,
                       uint32_t *generation)
{
    const struct space *all = spaces->spaces.items;
    size_t low = 0, high = spaces->spaces.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle].pid < pid || (all[middle].pid == pid && all[middle].begin <= time))
            low = middle + 1;
        else
            high = middle;
    }
    *generation = 0;
    if (low == 0 || all[low - 1].pid != pid)
        return KP_NO_SPACE;
    *generation = count_up_to(&all[low - 1].replaced, time);
    return (int64_t)low - 1;
}

const struct kp_mapping *kp_spaces_lookup(const struct kp_spaces *spaces, int64_t number,
                                          uint64_t time, uint64_t address)
{
    if (number < 0 || (size_t)number >= spaces->spaces.len)
        return NULL;
    const struct space *space = &((struct space *)spaces->spaces.items)[number];
    const struct placed *placed = space->placed.items, *best = NULL;
    size_t low = 0, high = space->placed.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (placed[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    /* Of those that hold the address, the latest that was there at that time. */
    for (size_t i = low; i-- > 0 && placed[i].reach > address;)
        if (placed[i].end > address && placed[i].time <= time &&
            (best == NULL || placed[i].time > best->time))
            best = &placed[i];
    return best == NULL ? NULL : &((struct kp_mapping *)spaces->mappings.items)[best->mapping];
}

uint32_t kp_spaces_comm(const struct kp_spaces *spaces, int32_t tid, uint64_t time)
{
    const struct naming *all = spaces->namings.items;
    size_t low = 0, high = spaces->namings.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle].tid < tid || (all[middle].tid == tid && all[middle].time <= time))
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && all[low - 1].tid == tid ? all[low - 1].text : 0;
}
