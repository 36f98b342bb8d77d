/* SPDX-License-Identifier: Apache-2.0
 * Address spaces and thread names over time: case by case, and at random against a model that
 * knows nothing of indexes. */
#include "check.h"
#include "space.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct kp_spaces *create(void)
{
    struct kp_spaces *spaces;
    CHECK_OK(kp_spaces_create(&spaces));
    return spaces;
}

static void tell(struct kp_spaces *spaces, struct kp_side side)
{
    side.name_size = side.name == NULL ? 0 : strlen(side.name);
    CHECK_OK(kp_spaces_add(spaces, &side));
}

static struct kp_side map(uint64_t time, int32_t pid, uint64_t start, uint64_t length,
                          const char *name)
{
    return (struct kp_side){.kind = KP_SIDE_MAP,
                            .time = time,
                            .pid = pid,
                            .tid = pid,
                            .start = start,
                            .length = length,
                            .name = name};
}

static struct kp_side named(enum kp_side_kind kind, uint64_t time, int32_t pid, int32_t tid,
                            const char *name)
{
    return (struct kp_side){.kind = kind, .time = time, .pid = pid, .tid = tid, .name = name};
}

static struct kp_side born(uint64_t time, int32_t ppid, int32_t ptid, int32_t pid, int32_t tid)
{
    return (struct kp_side){
        .kind = KP_SIDE_FORK, .time = time, .pid = pid, .tid = tid, .ppid = ppid, .ptid = ptid};
}

static const char *text(struct kp_spaces *spaces, uint32_t number)
{
    return kp_strings_text(kp_spaces_strings(spaces), number);
}

/* The name of what is mapped, "" where nothing is. */
static const char *at(struct kp_spaces *spaces, int32_t pid, uint64_t time, uint64_t address)
{
    uint32_t generation;
    int64_t space = kp_spaces_find(spaces, pid, time, &generation);
    const struct kp_mapping *mapping = kp_spaces_lookup(spaces, space, time, address);
    return mapping == NULL ? "" : text(spaces, mapping->path);
}

static const char *comm(struct kp_spaces *spaces, int32_t tid, uint64_t time)
{
    return text(spaces, kp_spaces_comm(spaces, tid, time));
}

static uint32_t generation_at(struct kp_spaces *spaces, int32_t pid, uint64_t time)
{
    uint32_t generation;
    kp_spaces_find(spaces, pid, time, &generation);
    return generation;
}

#define CHECK_TEXT(got, want) \
    (strcmp(got, want) == 0 ? (void)0 : fail(__FILE__, __LINE__, "%s is \"%s\"", #got, got))

TEST(space_of_a_mapping)
{
    struct kp_spaces *spaces = create();
    tell(spaces, map(10, 5, 0x1000, 0x1000, "/a"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 10, 0x1000), "/a");
    CHECK_TEXT(at(spaces, 5, 10, 0x1fff), "/a");
    CHECK_TEXT(at(spaces, 5, 10, 0x2000), "");
    CHECK_TEXT(at(spaces, 5, 10, 0xfff), "");
    CHECK_TEXT(at(spaces, 5, 9, 0x1000), ""); /* not yet */
    CHECK_TEXT(at(spaces, 5, UINT64_MAX, 0x1000), "/a");
    CHECK_TEXT(at(spaces, 6, 10, 0x1000), "");
    CHECK_TEXT(at(spaces, -1, 10, 0x1000), "");
    CHECK_TEXT(comm(spaces, 5, 10), "");
    kp_spaces_destroy(spaces);
}

TEST(space_of_nothing)
{
    struct kp_spaces *spaces = create();
    uint32_t generation = 7;
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_EQ(kp_spaces_find(spaces, 1, 1, &generation), KP_NO_SPACE);
    CHECK_EQ(generation, 0);
    CHECK(kp_spaces_lookup(spaces, KP_NO_SPACE, 1, 1) == NULL);
    CHECK(kp_spaces_lookup(spaces, 0, 1, 1) == NULL);
    CHECK_EQ(kp_spaces_comm(spaces, 1, 1), 0);
    kp_spaces_destroy(spaces);
    kp_spaces_destroy(NULL);
}

TEST(space_at_the_ends_of_the_range)
{
    struct kp_spaces *spaces = create();
    tell(spaces, map(1, 5, UINT64_MAX - 0xfff, UINT64_MAX, "/top"));
    tell(spaces, map(1, 5, 0, 0x1000, "/bottom"));
    tell(spaces, map(1, 5, 0x5000, 0, "/empty"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 1, UINT64_MAX - 1), "/top");
    CHECK_TEXT(at(spaces, 5, 1, 0), "/bottom");
    CHECK_TEXT(at(spaces, 5, 1, 0x5000), "");
    kp_spaces_destroy(spaces);
}

TEST(space_where_a_later_mapping_wins)
{
    struct kp_spaces *spaces = create();
    tell(spaces, map(10, 5, 0x1000, 0x4000, "/old"));
    tell(spaces, map(20, 5, 0x2000, 0x1000, "/new"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 19, 0x2800), "/old");
    CHECK_TEXT(at(spaces, 5, 20, 0x2800), "/new");
    CHECK_TEXT(at(spaces, 5, 20, 0x1800), "/old");
    CHECK_TEXT(at(spaces, 5, 20, 0x3000), "/old");
    CHECK_EQ(generation_at(spaces, 5, 19), 0);
    CHECK_EQ(generation_at(spaces, 5, 20), 1);
    kp_spaces_destroy(spaces);
}

TEST(space_after_an_exec)
{
    struct kp_spaces *spaces = create();
    tell(spaces, map(10, 5, 0x1000, 0x1000, "/old"));
    tell(spaces, named(KP_SIDE_EXEC, 20, 5, 5, "new"));
    tell(spaces, map(21, 5, 0x8000, 0x1000, "/new"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 19, 0x1000), "/old");
    CHECK_TEXT(at(spaces, 5, 20, 0x1000), "");
    CHECK_TEXT(at(spaces, 5, 21, 0x1000), "");
    CHECK_TEXT(at(spaces, 5, 21, 0x8000), "/new");
    CHECK_TEXT(at(spaces, 5, 20, 0x8000), "");
    CHECK_TEXT(comm(spaces, 5, 19), "");
    CHECK_TEXT(comm(spaces, 5, 20), "new");
    kp_spaces_destroy(spaces);
}

TEST(space_of_a_child)
{
    struct kp_spaces *spaces = create();
    tell(spaces, named(KP_SIDE_COMM, 5, 5, 5, "parent"));
    tell(spaces, map(10, 5, 0x1000, 0x1000, "/before"));
    tell(spaces, born(20, 5, 5, 6, 6));
    tell(spaces, map(30, 5, 0x2000, 0x1000, "/after"));
    tell(spaces, map(30, 6, 0x3000, 0x1000, "/own"));
    tell(spaces, named(KP_SIDE_COMM, 40, 6, 6, "child"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 6, 19, 0x1000), "");
    CHECK_TEXT(at(spaces, 6, 20, 0x1000), "/before");
    CHECK_TEXT(at(spaces, 6, 30, 0x2000), "");
    CHECK_TEXT(at(spaces, 6, 30, 0x3000), "/own");
    CHECK_TEXT(at(spaces, 5, 30, 0x3000), "");
    CHECK_TEXT(at(spaces, 5, 30, 0x2000), "/after");
    CHECK_TEXT(comm(spaces, 6, 20), "parent");
    CHECK_TEXT(comm(spaces, 6, 40), "child");
    CHECK_TEXT(comm(spaces, 5, 40), "parent");
    kp_spaces_destroy(spaces);
}

TEST(space_of_a_thread)
{
    struct kp_spaces *spaces = create();
    tell(spaces, named(KP_SIDE_COMM, 5, 5, 5, "main"));
    tell(spaces, map(10, 5, 0x1000, 0x1000, "/a"));
    tell(spaces, born(20, 5, 5, 5, 7));
    tell(spaces, named(KP_SIDE_COMM, 25, 5, 7, "worker"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 30, 0x1000), "/a"); /* a thread begins no space */
    CHECK_TEXT(comm(spaces, 7, 19), "");
    CHECK_TEXT(comm(spaces, 7, 24), "main");
    CHECK_TEXT(comm(spaces, 7, 25), "worker");
    kp_spaces_destroy(spaces);
}

TEST(space_of_a_pid_used_again)
{
    struct kp_spaces *spaces = create();
    tell(spaces, map(10, 5, 0x1000, 0x1000, "/first"));
    tell(spaces, named(KP_SIDE_EXIT, 20, 5, 5, NULL));
    tell(spaces, map(10, 9, 0x1000, 0x1000, "/other"));
    tell(spaces, named(KP_SIDE_COMM, 10, 9, 9, "nine"));
    tell(spaces, born(30, 9, 9, 5, 5));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 15, 0x1000), "/first");
    CHECK_TEXT(at(spaces, 5, 30, 0x1000), "/other");
    CHECK_TEXT(comm(spaces, 5, 30), "nine");
    kp_spaces_destroy(spaces);
}

/* ---- scans ---- */

static void *map_here(size_t *length)
{
    *length = (size_t)sysconf(_SC_PAGESIZE);
    void *code = mmap(NULL, *length, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    return code;
}

TEST(space_scanned_is_dated_back)
{
    struct kp_spaces *spaces = create();
    size_t length;
    void *code = map_here(&length);
    uint64_t address = (uint64_t)(uintptr_t)code;
    int32_t pid = getpid();
    tell(spaces, named(KP_SIDE_EXEC, 50, pid, pid, "before"));
    CHECK_OK(kp_spaces_scan(spaces, pid, 100));
    tell(spaces, named(KP_SIDE_EXEC, 200, pid, pid, "after"));
    munmap(code, length);
    for (int i = 0; i < 2; i++) { /* an index is made again at each read */
        CHECK_OK(kp_spaces_index(spaces));
        CHECK_TEXT(at(spaces, pid, 49, address), "");
        CHECK(at(spaces, pid, 50, address)[0] != '\0');
        CHECK(at(spaces, pid, 199, address)[0] != '\0');
        CHECK_TEXT(at(spaces, pid, 200, address), "");
        CHECK(strcmp(comm(spaces, pid, 50), "before") != 0); /* what /proc says is later */
        CHECK_TEXT(comm(spaces, pid, 200), "after");
    }
    kp_spaces_destroy(spaces);
}

TEST(space_scanned_without_a_boundary_is_for_ever)
{
    struct kp_spaces *spaces = create();
    int32_t pid = getpid();
    CHECK_OK(kp_spaces_scan(spaces, pid, 1000000));
    CHECK_OK(kp_spaces_index(spaces));
    uint64_t address = (uint64_t)(uintptr_t)&kp_spaces_scan;
    CHECK(strstr(at(spaces, pid, 0, address), "/") != NULL);
    CHECK(comm(spaces, pid, 0)[0] != '\0');
    kp_spaces_destroy(spaces);
}

/* Of the same moment, what was scanned counts more than what a child has of its parent. */
TEST(space_scanned_child_keeps_its_own_name)
{
    enum { CHILDREN = 200 };
    struct kp_spaces *spaces = create();
    int32_t pid = getpid();
    tell(spaces, named(KP_SIDE_COMM, 1, 1, 1, "parent"));
    for (int i = 0; i < CHILDREN; i++) { /* so that a sort has something to do */
        tell(spaces, born(10, 1, 1, 0x700000 + i, 0x700000 + i));
        tell(spaces, named(KP_SIDE_COMM, 10, 0x700000 + i, 0x700000 + i, "child"));
    }
    tell(spaces, born(20, 1, 1, pid, pid));
    CHECK_OK(kp_spaces_scan(spaces, pid, 100));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK(strcmp(comm(spaces, pid, 20), "parent") != 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK_TEXT(comm(spaces, 0x700000 + i, 10), "child");
    kp_spaces_destroy(spaces);
}

TEST(space_scanned_of_nobody)
{
    struct kp_spaces *spaces = create();
    size_t n;
    CHECK_OK(kp_spaces_scan(spaces, 0x7ffffff0, 1));
    CHECK_OK(kp_spaces_index(spaces));
    kp_spaces_mappings(spaces, &n);
    CHECK_EQ(n, 0);
    kp_spaces_destroy(spaces);
}

/* ---- many ---- */

TEST(space_of_many_mappings)
{
    enum { MANY = 5000, AGAIN = 5000 };
    struct kp_spaces *spaces = create();
    char name[32];
    for (uint64_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "/%d", (int)i);
        tell(spaces, map(i, 5, 0x10000 + i * 0x1000, 0x1000, name));
    }
    for (uint64_t i = 0; i < AGAIN; i++) /* as a JIT does: one place, over and over */
        tell(spaces, map(MANY + i, 5, 0x10000, 0x1000, "/jit"));
    CHECK_OK(kp_spaces_index(spaces));
    for (uint64_t i = 1; i < MANY; i++) {
        snprintf(name, sizeof(name), "/%d", (int)i);
        CHECK_TEXT(at(spaces, 5, i, 0x10000 + i * 0x1000), name);
        CHECK_TEXT(at(spaces, 5, i - 1, 0x10000 + i * 0x1000), "");
        CHECK_EQ(generation_at(spaces, 5, i), 0);
    }
    for (uint64_t i = 0; i < AGAIN; i++)
        CHECK_EQ(generation_at(spaces, 5, MANY + i), i + 1);
    kp_spaces_destroy(spaces);
}

/* ---- at random ---- */

static uint64_t seed = 88172645463325252u;

static uint32_t any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

enum { EVENTS = 120, PIDS = 6, PAGES = 12, PAGE = 0x1000 };

static const char *const words[] = {"/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"};

static int32_t pid_of(uint32_t number)
{
    return 100 + (int32_t)number;
}

/* A thread's number is 1000 and its process's: one more thread a process. */
static struct kp_side any_event(uint64_t time)
{
    int32_t pid = pid_of(any(PIDS)), parent = pid_of(any(PIDS));
    const char *word = words[any(8)];
    switch (any(8)) {
    case 0:
        return named(KP_SIDE_EXEC, time, pid, pid, word);
    case 1:
        return parent == pid ? born(time, pid, pid, pid, 1000 + pid)
                             : born(time, parent, parent, pid, pid);
    case 2:
        return named(KP_SIDE_COMM, time, pid, any(2) ? pid : 1000 + pid, word);
    case 3:
        return named(KP_SIDE_EXIT, time, pid, pid, NULL);
    default:
        return map(time, pid, any(PAGES) * PAGE, (1 + any(4)) * PAGE, word);
    }
}

/* What is mapped on each page of each process, and every thread's name: nothing else. */
struct model {
    const char *page[PIDS][PAGES + 4];
    const char *name[PIDS][2];
};

static const char **name_in(struct model *model, int32_t tid)
{
    return tid >= 1000 ? &model->name[tid - 1100][1] : &model->name[tid - 100][0];
}

static void apply(struct model *model, const struct kp_side *side)
{
    const char **pages = model->page[side->pid - 100];
    if (side->kind == KP_SIDE_MAP)
        for (uint64_t page = side->start; page < side->start + side->length; page += PAGE)
            pages[page / PAGE] = side->name;
    if (side->kind == KP_SIDE_EXEC)
        memset(pages, 0, sizeof(model->page[0]));
    if (side->kind == KP_SIDE_FORK && side->pid != side->ppid)
        memcpy(pages, model->page[side->ppid - 100], sizeof(model->page[0]));
    if (side->kind == KP_SIDE_EXEC || side->kind == KP_SIDE_COMM)
        *name_in(model, side->tid) = side->name;
    if (side->kind == KP_SIDE_FORK)
        *name_in(model, side->tid) = *name_in(model, side->ptid);
}

static const char *or_nothing(const char *word)
{
    return word == NULL ? "" : word;
}

static void compare_leader(struct kp_spaces *spaces, struct model *model, uint32_t i, uint64_t time)
{
    for (uint64_t page = 0; page < PAGES + 4; page++)
        CHECK_TEXT(at(spaces, pid_of(i), time, page * PAGE + any(PAGE)),
                   or_nothing(model->page[i][page]));
    CHECK_TEXT(comm(spaces, pid_of(i), time), or_nothing(model->name[i][0]));
}

static void compare(struct kp_spaces *spaces, struct model *model, uint64_t time)
{
    for (uint32_t i = 0; i < PIDS; i++) {
        compare_leader(spaces, model, i, time);
        CHECK_TEXT(comm(spaces, 1000 + pid_of(i), time), or_nothing(model->name[i][1]));
    }
}

static void tell_shuffled(struct kp_spaces *spaces, const struct kp_side *events)
{
    uint32_t order[EVENTS];
    for (uint32_t i = 0; i < EVENTS; i++) {
        uint32_t other = any(i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    for (uint32_t i = 0; i < EVENTS; i++)
        tell(spaces, events[order[i]]);
}

TEST(space_as_a_model_has_it)
{
    int times = repeat(200);
    for (int round = 0; round < times; round++) {
        struct kp_side events[EVENTS];
        struct kp_spaces *spaces = create();
        struct model model = {0};
        for (uint32_t i = 0; i < EVENTS; i++)
            events[i] = any_event(10 * (i + 1));
        tell_shuffled(spaces, events);
        CHECK_OK(kp_spaces_index(spaces));
        for (uint32_t i = 0; i < EVENTS; i++) {
            compare(spaces, &model, events[i].time - 1);
            apply(&model, &events[i]);
            compare(spaces, &model, events[i].time);
        }
        kp_spaces_destroy(spaces);
    }
}

/* Within one generation of a space, what was looked up once holds. */
TEST(space_generations_hold)
{
    int times = repeat(100);
    for (int round = 0; round < times; round++) {
        struct kp_side events[EVENTS];
        struct kp_spaces *spaces = create();
        for (uint32_t i = 0; i < EVENTS; i++)
            events[i] = any_event(10 * (i + 1));
        tell_shuffled(spaces, events);
        CHECK_OK(kp_spaces_index(spaces));
        for (uint32_t i = 0; i < PIDS; i++)
            for (uint64_t page = 0; page < PAGES; page++) {
                const char *before = "";
                int64_t space_before = KP_NO_SPACE;
                uint32_t generation_before = 0, generation;
                for (uint64_t time = 0; time <= 10 * EVENTS; time += 10) {
                    int64_t space = kp_spaces_find(spaces, pid_of(i), time, &generation);
                    const char *now = at(spaces, pid_of(i), time, page * PAGE);
                    if (space == space_before && generation == generation_before &&
                        before[0] != '\0')
                        CHECK_TEXT(now, before);
                    before = now;
                    space_before = space;
                    generation_before = generation;
                }
            }
        kp_spaces_destroy(spaces);
    }
}

/* ---- settled ---- */

/* Enough of what nobody asks for that settling is worth its while. */
static void fill(struct kp_spaces *spaces)
{
    for (int i = 0; i < 2 * KP_SETTLE_ABOVE; i++)
        tell(spaces, named(KP_SIDE_COMM, 1, 1, 1, "filler"));
}

static void settle(struct kp_spaces *spaces, uint64_t horizon)
{
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_OK(kp_spaces_settle(spaces, horizon));
}

static size_t n_mappings(struct kp_spaces *spaces)
{
    size_t n;
    kp_spaces_mappings(spaces, &n);
    return n;
}

/* What is told before and after a settling is, behind the horizon, as if there had been none. */
TEST(space_settled_as_a_model_has_it)
{
    enum { TOLD_BEFORE = EVENTS * 2 / 3, HORIZON = EVENTS / 3 };
    int times = repeat(100);
    for (int round = 0; round < times; round++) {
        struct kp_side events[EVENTS];
        struct kp_spaces *spaces = create();
        struct model model = {0};
        for (uint32_t i = 0; i < EVENTS; i++)
            do
                events[i] = any_event(10 * (i + 1));
            while (events[i].kind == KP_SIDE_EXIT); /* of which the model knows nothing */
        fill(spaces);
        for (uint32_t i = TOLD_BEFORE; i-- > 0;)
            tell(spaces, events[i]);
        settle(spaces, 10 * HORIZON);
        for (uint32_t i = TOLD_BEFORE; i < EVENTS; i++)
            tell(spaces, events[i]);
        CHECK_OK(kp_spaces_index(spaces));
        for (uint32_t i = 0; i < EVENTS; i++) {
            apply(&model, &events[i]);
            for (uint32_t pid = 0; i >= HORIZON && pid < PIDS; pid++)
                compare_leader(spaces, &model, pid, events[i].time); /* an exec ends the others */
        }
        kp_spaces_destroy(spaces);
    }
}

TEST(space_settled_forgets_who_ended)
{
    enum { PARENT = 5, CHILDREN = 20000 };
    struct kp_spaces *spaces = create();
    size_t most = 0;
    tell(spaces, named(KP_SIDE_COMM, 1, PARENT, PARENT, "parent"));
    tell(spaces, map(1, PARENT, 0x1000, 0x1000, "/parent"));
    for (int32_t i = 0; i < CHILDREN; i++) {
        uint64_t time = 10 * ((uint64_t)i + 1);
        int32_t pid = 100 + i;
        tell(spaces, born(time, PARENT, PARENT, pid, pid));
        tell(spaces, named(KP_SIDE_EXEC, time + 1, pid, pid, "child"));
        tell(spaces, map(time + 1, pid, 0x1000, 0x1000, "/child"));
        tell(spaces, named(KP_SIDE_EXIT, time + 2, pid, pid, NULL));
        if (i % 1000 == 0)
            settle(spaces, time);
        most = n_mappings(spaces) > most ? n_mappings(spaces) : most;
    }
    settle(spaces, UINT64_MAX);
    CHECK(most < CHILDREN / 2);
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, PARENT, UINT64_MAX, 0x1000), "/parent");
    CHECK_TEXT(comm(spaces, PARENT, UINT64_MAX), "parent");
    kp_spaces_destroy(spaces);
}

/* A process lives as long as one of its threads; an exec leaves it one, whatever the others' ends
 * tell or do not. */
TEST(space_settled_keeps_what_lives)
{
    struct kp_spaces *spaces = create();
    fill(spaces);
    tell(spaces, map(2, 5, 0x1000, 0x1000, "/leaderless"));
    tell(spaces, named(KP_SIDE_COMM, 2, 5, 5, "five"));
    tell(spaces, born(3, 5, 5, 5, 50));
    tell(spaces, named(KP_SIDE_EXIT, 4, 5, 5, NULL));
    tell(spaces, named(KP_SIDE_COMM, 2, 6, 6, "six"));
    tell(spaces, born(3, 6, 6, 6, 60));
    tell(spaces, named(KP_SIDE_EXIT, 4, 6, 6, NULL));
    tell(spaces, named(KP_SIDE_EXEC, 5, 6, 6, "sixth")); /* by thread 60, which is 6 now */
    tell(spaces, map(5, 6, 0x1000, 0x1000, "/sixth"));
    tell(spaces, named(KP_SIDE_COMM, 2, 7, 7, "seven"));
    tell(spaces, map(2, 7, 0x1000, 0x1000, "/seven"));
    tell(spaces, born(3, 7, 7, 7, 70));
    tell(spaces, named(KP_SIDE_EXIT, 4, 7, 70, NULL));
    tell(spaces, named(KP_SIDE_EXIT, 5, 7, 7, NULL));
    tell(spaces, named(KP_SIDE_EXIT, 20, 6, 6, NULL));
    settle(spaces, 10);
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 11, 0x1000), "/leaderless");
    CHECK_TEXT(comm(spaces, 50, 11), "five");
    CHECK_TEXT(comm(spaces, 5, 11), "");
    CHECK_TEXT(at(spaces, 6, 11, 0x1000), "/sixth");
    CHECK_TEXT(comm(spaces, 6, 11), "sixth");
    CHECK_TEXT(comm(spaces, 60, 11), "");
    CHECK_TEXT(at(spaces, 7, 11, 0x1000), "");
    CHECK_TEXT(comm(spaces, 70, 11), "");
    fill(spaces);
    fill(spaces);
    settle(spaces, 30);
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 6, 31, 0x1000), "");
    CHECK_TEXT(at(spaces, 5, 31, 0x1000), "/leaderless");
    kp_spaces_destroy(spaces);
}

TEST(space_settled_forgets_what_is_mapped_over)
{
    enum { TIMES = 3 * KP_SETTLE_ABOVE, LATER = 10 };
    struct kp_spaces *spaces = create();
    for (uint64_t i = 0; i < TIMES; i++)
        tell(spaces, map(i, 5, 0x1000, 0x1000, i % 2 ? "/odd" : "/even"));
    settle(spaces, TIMES - LATER);
    CHECK_EQ(n_mappings(spaces), LATER);
    CHECK_OK(kp_spaces_index(spaces));
    for (uint64_t time = TIMES - LATER; time < TIMES; time++)
        CHECK_TEXT(at(spaces, 5, time, 0x1000), time % 2 ? "/odd" : "/even");
    kp_spaces_destroy(spaces);
}

/* A scan that was made behind the horizon holds from the beginning of its space on. */
TEST(space_settled_leaves_a_late_scan)
{
    struct kp_spaces *spaces = create();
    struct kp_side late = map(20, 5, 0x1000, 0x1000, "/late");
    fill(spaces);
    tell(spaces, named(KP_SIDE_EXEC, 5, 5, 5, "five"));
    late.name_size = strlen(late.name);
    CHECK_OK(kp_spaces_add_scanned(spaces, &late));
    settle(spaces, 10);
    tell(spaces, named(KP_SIDE_EXEC, 15, 5, 5, "again")); /* told late: the scan is after it */
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_TEXT(at(spaces, 5, 14, 0x1000), "");
    CHECK_TEXT(at(spaces, 5, 15, 0x1000), "/late");
    kp_spaces_destroy(spaces);
}

/* What is handed out stands in order of time, with mappings and names by number. */
TEST(space_task_events_in_order)
{
    struct kp_spaces *spaces = create();
    struct kp_task_event *events;
    size_t n, n_mappings;
    tell(spaces, named(KP_SIDE_COMM, 40, 6, 6, "child"));
    tell(spaces, (struct kp_side){.kind = KP_SIDE_EXIT, .time = 50, .pid = 6, .tid = 6, .ppid = 5});
    tell(spaces, map(20, 5, 0x1000, 0x1000, "/a"));
    tell(spaces, map(25, 5, 0x2000, 0x1000, "/b"));
    tell(spaces, born(30, 5, 5, 6, 6));
    tell(spaces, named(KP_SIDE_EXEC, 10, 5, 5, "image"));
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_OK(kp_spaces_task_events(spaces, &events, &n));
    const uint32_t kinds[] = {KP_TASK_EXEC, KP_TASK_MAP,  KP_TASK_MAP,
                              KP_TASK_FORK, KP_TASK_COMM, KP_TASK_EXIT};
    const uint64_t times[] = {10, 20, 25, 30, 40, 50};
    CHECK_EQ(n, 6);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(events[i].kind, kinds[i]);
        CHECK_EQ(events[i].time, times[i]);
    }
    const struct kp_mapping *mappings = kp_spaces_mappings(spaces, &n_mappings);
    CHECK_TEXT(text(spaces, events[0].value), "image");
    CHECK_TEXT(text(spaces, mappings[events[1].value].path), "/a");
    CHECK_TEXT(text(spaces, mappings[events[2].value].path), "/b");
    CHECK_EQ(events[3].ppid, 5);
    CHECK_EQ(events[3].tid, 6);
    CHECK_TEXT(text(spaces, events[4].value), "child");
    CHECK_EQ(events[5].ppid, 5);
    free(events);
    kp_spaces_destroy(spaces);
}

TEST(space_without_task_events)
{
    struct kp_spaces *spaces = create();
    struct kp_task_event *events;
    size_t n;
    CHECK_OK(kp_spaces_index(spaces));
    CHECK_OK(kp_spaces_task_events(spaces, &events, &n));
    CHECK_EQ(n, 0);
    free(events);
    kp_spaces_destroy(spaces);
}
