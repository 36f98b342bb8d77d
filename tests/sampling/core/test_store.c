/* SPDX-License-Identifier: Apache-2.0
 * What is kept of samples: interned stacks and names, columns, their order, and sums over them. */
#include "check.h"
#include "column.h"
#include "resolve.h"
#include "stacks.h"
#include "store.h"
#include "strings.h"

#include <string.h>

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* ---- columns ---- */

TEST(column_never_moves)
{
    enum { ITEMS = 1 << 20 };
    struct kp_column column;
    CHECK_OK(kp_column_create(&column, sizeof(uint64_t), ITEMS));
    uint8_t *base = column.base;
    for (size_t n = 1; n <= ITEMS; n *= 2) {
        CHECK_OK(kp_column_grow(&column, n));
        CHECK(column.base == base);
        *(uint64_t *)kp_column_at(&column, n - 1) = n;
    }
    CHECK_EQ(*(uint64_t *)kp_column_at(&column, 1023), 1024);
    CHECK_EQ(kp_column_grow(&column, ITEMS + 1), KP_E_NOMEM);
    kp_column_destroy(&column);
    kp_column_destroy(&column); /* of nothing: nothing */
}

/* ---- names ---- */

TEST(strings_are_interned)
{
    enum { MANY = 5000 };
    struct kp_strings strings;
    char text[32];
    uint32_t number;
    CHECK_OK(kp_strings_create(&strings, 1 << 20));
    CHECK_OK(kp_strings_add(&strings, "", 0, &number));
    CHECK_EQ(number, 0);
    for (int again = 0; again < 2; again++)
        for (uint32_t i = 0; i < MANY; i++) {
            int n = snprintf(text, sizeof(text), "name %u", i);
            CHECK_OK(kp_strings_add(&strings, text, (size_t)n, &number));
            CHECK_EQ(number, i + 1);
            CHECK(strcmp(kp_strings_text(&strings, number), text) == 0);
        }
    CHECK_EQ(strings.n, MANY + 1);
    kp_strings_destroy(&strings);
}

/* A beginning of a text, and what stands behind its end, are texts of their own. */
TEST(strings_of_a_given_size)
{
    struct kp_strings strings;
    uint32_t whole, part, cut, same;
    const char bytes[5] = {'a', 'b', 'c', 'd', 'e'}; /* no NUL */
    CHECK_OK(kp_strings_create(&strings, 1 << 20));
    CHECK_OK(kp_strings_add(&strings, bytes, 5, &whole));
    CHECK_OK(kp_strings_add(&strings, bytes, 3, &part));
    CHECK_OK(kp_strings_add(&strings, "abc\0de", 6, &cut));
    CHECK_OK(kp_strings_add(&strings, "abcde", 5, &same));
    CHECK(whole != part);
    CHECK_EQ(part, cut);
    CHECK_EQ(whole, same);
    CHECK(strcmp(kp_strings_text(&strings, part), "abc") == 0);
    kp_strings_destroy(&strings);
}

TEST(strings_beyond_their_room)
{
    struct kp_strings strings;
    static char big[(1 << 20) + 1];
    uint32_t number;
    memset(big, 'x', sizeof(big));
    CHECK_OK(kp_strings_create(&strings, 1 << 20));
    CHECK_EQ(kp_strings_add(&strings, big, sizeof(big), &number), KP_E_NOMEM);
    CHECK_OK(kp_strings_add(&strings, "small", 5, &number));
    CHECK(strcmp(kp_strings_text(&strings, number), "small") == 0);
    kp_strings_destroy(&strings);
}

/* ---- stacks ---- */

static void check_chain(const struct kp_stacks *stacks, uint32_t node, const uint64_t *chain,
                        size_t n)
{
    for (size_t i = 0; i < n; i++, node = kp_stacks_parent(stacks, node))
        CHECK_EQ(kp_stacks_address(stacks, node), chain[i]);
    CHECK_EQ(node, 0);
}

TEST(stacks_are_interned)
{
    enum { MANY = 3000, DEPTH = 6 };
    struct kp_stacks stacks;
    static uint64_t chains[MANY][DEPTH];
    static uint32_t nodes[MANY];
    CHECK_OK(kp_stacks_create(&stacks, 1 << 16));
    for (size_t i = 0; i < MANY; i++) {
        for (size_t at = 0; at < DEPTH; at++)
            chains[i][at] = any() % 4; /* few addresses: much is shared */
        CHECK_OK(kp_stacks_add_chain(&stacks, chains[i], DEPTH, &nodes[i]));
    }
    for (size_t i = 0; i < MANY; i++) {
        check_chain(&stacks, nodes[i], chains[i], DEPTH);
        for (size_t other = i + 1; other < MANY; other += 17)
            CHECK_EQ(nodes[i] == nodes[other],
                     memcmp(chains[i], chains[other], sizeof(chains[i])) == 0);
    }
    CHECK(stacks.n <= 1 + 4 + 16 + 64 + 256 + 1024 + 4096);
    kp_stacks_destroy(&stacks);
}

TEST(stacks_past_a_rehash)
{
    enum { MANY = 100000 };
    struct kp_stacks stacks;
    uint32_t node;
    CHECK_OK(kp_stacks_create(&stacks, MANY + 1));
    for (int again = 0; again < 2; again++)
        for (uint32_t i = 0; i < MANY; i++) {
            CHECK_OK(kp_stacks_add(&stacks, 0, (uint64_t)i << 12, &node));
            CHECK_EQ(node, i + 1);
        }
    kp_stacks_destroy(&stacks);
}

TEST(stacks_empty_and_deep)
{
    enum { DEPTH = 20000 };
    struct kp_stacks stacks;
    static uint64_t chain[DEPTH];
    uint32_t node = 7, same;
    CHECK_OK(kp_stacks_create(&stacks, DEPTH + 1));
    CHECK_OK(kp_stacks_add_chain(&stacks, chain, 0, &node));
    CHECK_EQ(node, 0);
    CHECK_EQ(stacks.n, 1);
    CHECK_OK(kp_stacks_add_chain(&stacks, chain, DEPTH, &node)); /* one address, recursively */
    CHECK_EQ(stacks.n, DEPTH + 1);
    check_chain(&stacks, node, chain, DEPTH);
    CHECK_OK(kp_stacks_add_chain(&stacks, chain, DEPTH, &same));
    CHECK_EQ(same, node);
    kp_stacks_destroy(&stacks);
}

TEST(stacks_beyond_their_room)
{
    struct kp_stacks stacks;
    uint32_t node;
    uint64_t i = 0;
    CHECK_OK(kp_stacks_create(&stacks, 1));
    while (kp_stacks_add(&stacks, 0, ++i, &node) == 0)
        CHECK(i < 1 << 20);
    CHECK_EQ(kp_last_error()->code, KP_E_NOMEM);
    uint32_t n = stacks.n;
    CHECK_EQ(kp_stacks_add(&stacks, 0, i, &node), KP_E_NOMEM);
    CHECK_EQ(stacks.n, n);
    CHECK_OK(kp_stacks_add(&stacks, 0, 1, &node)); /* known: needs no room */
    CHECK_EQ(node, 1);
    kp_stacks_destroy(&stacks);
}

/* ---- the store ---- */

static struct kp_sample sample_at(uint64_t time, uint64_t number)
{
    return (struct kp_sample){.time = time,
                              .ip = 0x1000 + number,
                              .addr = 0x2000 + number,
                              .period = 0x3000 + number,
                              .pid = (int32_t)number + 1,
                              .tid = (int32_t)number + 2,
                              .cpu = (int32_t)number + 3,
                              .mode = KP_MISC_USER};
}

static uint64_t u64(const struct kp_column *column, size_t row)
{
    return ((const uint64_t *)column->base)[row];
}

static uint32_t u32(const struct kp_column *column, size_t row)
{
    return ((const uint32_t *)column->base)[row];
}

static void check_row(const struct kp_store *store, size_t row)
{
    uint64_t number = u64(&store->ip, row) - 0x1000;
    uint64_t raw;
    CHECK_EQ(u64(&store->addr, row), 0x2000 + number);
    CHECK_EQ(u64(&store->period, row), 0x3000 + number);
    CHECK_EQ(u32(&store->pid, row), number + 1);
    CHECK_EQ(u32(&store->tid, row), number + 2);
    CHECK_EQ(u32(&store->cpu, row), number + 3);
    CHECK_EQ(u32(&store->event, row), number + 4);
    uint32_t node = u32(&store->stack, row);
    CHECK_EQ(kp_stacks_address(&store->stacks, node), KP_CONTEXT_USER);
    CHECK_EQ(kp_stacks_address(&store->stacks, kp_stacks_parent(&store->stacks, node)),
             0x1000 + number);
    CHECK_EQ(u32(&store->extra_size, row), sizeof(raw));
    memcpy(&raw, store->extra.base + u64(&store->extra_at, row), sizeof(raw));
    CHECK_EQ(raw, number * 3);
}

/* Rows stay whole, times rise, and equal times stay in the order in which they came. */
static void check_sorted(uint64_t n_times)
{
    enum { ROWS = 3000 };
    struct kp_store store;
    CHECK_OK(kp_store_create(&store, 1 << 24, 1, 1));
    for (uint64_t i = 0; i < ROWS; i++) {
        uint64_t raw = i * 3;
        struct kp_sample sample = sample_at(any() % n_times, i);
        sample.raw = (const uint8_t *)&raw;
        sample.raw_size = sizeof(raw);
        CHECK_OK(kp_store_add(&store, &sample, (uint32_t)i + 4));
    }
    CHECK_OK(kp_store_sort(&store));
    CHECK_EQ(store.len, ROWS);
    for (size_t row = 0; row < ROWS; row++) {
        check_row(&store, row);
        if (row == 0)
            continue;
        CHECK(u64(&store.time, row - 1) <= u64(&store.time, row));
        if (u64(&store.time, row - 1) == u64(&store.time, row))
            CHECK(u64(&store.ip, row - 1) < u64(&store.ip, row));
    }
    kp_store_destroy(&store);
}

TEST(store_in_order_of_time)
{
    check_sorted(1);
    check_sorted(7);
    check_sorted(UINT64_MAX);
}

TEST(store_of_nothing)
{
    struct kp_store store;
    CHECK_OK(kp_store_create(&store, 0, 0, 0));
    CHECK_OK(kp_store_sort(&store));
    CHECK_EQ(store.len, 0);
    kp_store_destroy(&store);
}

TEST(store_that_is_full)
{
    struct kp_store store;
    CHECK_OK(kp_store_create(&store, 1, 1, 1));
    size_t most = store.most;
    for (size_t i = 0; i < most; i++) {
        struct kp_sample sample = sample_at(i, i);
        CHECK_OK(kp_store_add(&store, &sample, 0));
    }
    struct kp_sample sample = sample_at(0, 0);
    CHECK_EQ(kp_store_add(&store, &sample, 0), KP_E_NOMEM);
    CHECK_EQ(store.len, most);
    CHECK_OK(kp_store_sort(&store));
    CHECK_EQ(u64(&store.time, most - 1), most - 1);
    kp_store_destroy(&store);
}

/* Where the raw bytes do not fit any more, the sample is not taken, a smaller one still is. */
TEST(store_without_room_for_raw_bytes)
{
    static uint8_t raw[60000];
    struct kp_store store;
    struct kp_sample sample = sample_at(1, 1);
    CHECK_OK(kp_store_create(&store, 1 << 20, 0, 1));
    sample.raw = raw;
    sample.raw_size = sizeof(raw);
    while (kp_store_add(&store, &sample, 0) == 0)
        CHECK(store.len < 100);
    CHECK_EQ(kp_last_error()->code, KP_E_NOMEM);
    size_t len = store.len, used = store.extra_used;
    CHECK_EQ(used, len * sizeof(raw));
    CHECK_EQ(kp_store_add(&store, &sample, 0), KP_E_NOMEM);
    CHECK_EQ(store.len, len);
    CHECK_EQ(store.extra_used, used);
    sample.raw_size = 8;
    CHECK_OK(kp_store_add(&store, &sample, 0));
    CHECK_EQ(store.len, len + 1);
    kp_store_destroy(&store);
}

/* A chain that is deeper than is kept loses its outermost part, and stays within its array. */
TEST(store_of_a_chain_that_is_too_deep)
{
    enum { DEPTH = 5000, KEPT = 1024 };
    static uint64_t chain[DEPTH];
    struct kp_store store;
    struct kp_sample sample = sample_at(1, 1);
    for (size_t i = 0; i < DEPTH; i++)
        chain[i] = i + 1;
    sample.chain = (const uint8_t *)chain;
    sample.n_chain = DEPTH;
    CHECK_OK(kp_store_create(&store, 1 << 24, 0, 0));
    CHECK_OK(kp_store_add(&store, &sample, 0));
    check_chain(&store.stacks, u32(&store.stack, 0), chain, KEPT);
    kp_store_destroy(&store);
}

/* ---- resolved ---- */

static void map_file(struct kp_spaces *spaces, int32_t pid, uint64_t time, const char *name)
{
    struct kp_side side = {.kind = KP_SIDE_MAP,
                           .time = time,
                           .pid = pid,
                           .start = 0x10000,
                           .length = 0x10000,
                           .name = name,
                           .name_size = strlen(name)};
    CHECK_OK(kp_spaces_add(spaces, &side));
}

static struct kp_samples *resolve(struct kp_store *store, struct kp_spaces *spaces)
{
    struct kp_samples *samples;
    CHECK_OK(kp_resolve(store, spaces, &samples));
    kp_spaces_destroy(spaces);
    return samples;
}

static const char *path_of(const struct kp_samples *samples, uint64_t frame)
{
    uint32_t mapping = (samples->frame_mapping[frame] & ~KP_FRAME_CALLER) - 1;
    if (mapping == KP_MAPPING_KERNEL)
        return "kernel";
    if (mapping == KP_MAPPING_NONE)
        return "none";
    return samples->strings + samples->string_offset[samples->mappings[mapping].path];
}

TEST(resolved_by_the_space_of_its_time)
{
    const uint64_t chain[] = {KP_CONTEXT_KERNEL, 0xffffffff81000000, KP_CONTEXT_USER, 0x10010,
                              0x50000};
    static const char *const paths[] = {"/a", "/b", "/c"};
    struct kp_store store;
    struct kp_spaces *spaces;
    CHECK_OK(kp_store_create(&store, 1 << 20, 0, 0));
    CHECK_OK(kp_spaces_create(&spaces));
    map_file(spaces, 1, 0, "/a");
    map_file(spaces, 1, 20, "/b");
    map_file(spaces, 2, 0, "/c");
    for (int i = 0; i < 3; i++) {
        struct kp_sample sample = {.time = i == 1 ? 25 : 10,
                                   .pid = i == 2 ? 2 : 1,
                                   .cpu = i,
                                   .chain = (const uint8_t *)chain,
                                   .n_chain = 5};
        CHECK_OK(kp_store_add(&store, &sample, 0));
    }
    struct kp_samples *samples = resolve(&store, spaces);
    CHECK_EQ(samples->len, 3);
    for (size_t i = 0; i < 3; i++) {
        uint32_t node = samples->stack[i];
        const char *want = paths[samples->cpu[i]];
        CHECK(strcmp(path_of(samples, samples->stack_frame[node]), "kernel") == 0);
        node = samples->stack_parent[node];
        CHECK(strcmp(path_of(samples, samples->stack_frame[node]), want) == 0);
        node = samples->stack_parent[node];
        CHECK(strcmp(path_of(samples, samples->stack_frame[node]), "none") == 0);
        CHECK_EQ(samples->stack_parent[node], 0);
    }
    kp_samples_destroy(samples);
}

static int is_caller(const struct kp_samples *samples, uint32_t node)
{
    return (samples->frame_mapping[samples->stack_frame[node]] & KP_FRAME_CALLER) != 0;
}

/* An address that was interrupted and one that is returned to are two frames: a call that never
 * returns ends its function, and its mapping. */
TEST(callers_are_told_from_what_was_interrupted)
{
    const uint64_t chain[] = {KP_CONTEXT_USER, 0x10010, 0x10010, 0x20000, 0x20001};
    static const char *const paths[] = {"/a", "/a", "/a", "none"};
    struct kp_store store;
    struct kp_spaces *spaces;
    CHECK_OK(kp_store_create(&store, 1 << 20, 0, 0));
    CHECK_OK(kp_spaces_create(&spaces));
    map_file(spaces, 1, 0, "/a"); /* up to 0x20000 */
    struct kp_sample sample = {.time = 10, .pid = 1, .chain = (const uint8_t *)chain, .n_chain = 5};
    CHECK_OK(kp_store_add(&store, &sample, 0));
    struct kp_samples *samples = resolve(&store, spaces);
    uint32_t node = samples->stack[0];
    for (size_t i = 0; i < 4; i++, node = samples->stack_parent[node]) {
        uint64_t frame = samples->stack_frame[node];
        CHECK_EQ(samples->frame_address[frame], chain[i + 1]);
        CHECK_EQ(is_caller(samples, node), i > 0);
        CHECK(strcmp(path_of(samples, frame), paths[i]) == 0);
    }
    CHECK_EQ(node, 0);
    kp_samples_destroy(samples);
}

/* One raw stack is as many resolved ones as there are processes: a store that held the raw one must
 * not fail for that. */
TEST(resolved_into_more_stacks_than_raw_ones)
{
    enum { PIDS = 1000, DEPTH = 200 };
    uint64_t chain[DEPTH];
    struct kp_store store;
    struct kp_spaces *spaces;
    for (size_t i = 0; i < DEPTH; i++)
        chain[i] = 0x10000 + i;
    CHECK_OK(kp_store_create(&store, 1, 0, 0));
    CHECK_OK(kp_spaces_create(&spaces));
    for (int32_t pid = 1; pid <= PIDS; pid++) {
        struct kp_sample sample = {
            .time = 1, .pid = pid, .chain = (const uint8_t *)chain, .n_chain = DEPTH};
        map_file(spaces, pid, 0, "/worker");
        CHECK_OK(kp_store_add(&store, &sample, 0));
    }
    CHECK_EQ(store.stacks.n, DEPTH + 1);
    struct kp_samples *samples = resolve(&store, spaces);
    CHECK_EQ(samples->len, PIDS);
    CHECK_EQ(samples->n_stacks, PIDS * DEPTH + 1);
    kp_samples_destroy(samples);
}

/* ---- sums ---- */

static struct kp_samples *any_samples(size_t n)
{
    struct kp_store store;
    struct kp_spaces *spaces;
    CHECK_OK(kp_store_create(&store, 1 << 22, 0, 0));
    CHECK_OK(kp_spaces_create(&spaces));
    map_file(spaces, 1, 0, "/a");
    map_file(spaces, 2, 0, "/b");
    for (size_t i = 0; i < n; i++) {
        uint64_t chain[8];
        struct kp_sample sample = {.time = any() % 1000,
                                   .period = any() % 100,
                                   .pid = 1 + (int32_t)(any() % 3),
                                   .tid = 1 + (int32_t)(any() % 3),
                                   .cpu = (int32_t)(any() % 2),
                                   .chain = (const uint8_t *)chain,
                                   .n_chain = 1 + any() % 8};
        for (size_t at = 0; at < 8; at++)
            chain[at] = 0x10000 + any() % 4; /* so few that most recurs */
        CHECK_OK(kp_store_add(&store, &sample, (uint32_t)(any() % 3)));
    }
    return resolve(&store, spaces);
}

static int matches(const struct kp_samples *samples, size_t i, uint32_t keys,
                   const struct kp_hot_row *row)
{
    return row->event == (keys & KP_HOT_EVENT ? samples->event[i] : 0) &&
           row->frame == (keys & KP_HOT_FRAME ? samples->stack_frame[samples->stack[i]] : 0) &&
           row->stack == (keys & KP_HOT_STACK ? samples->stack[i] : 0) &&
           row->comm == (keys & KP_HOT_COMM ? samples->comm[i] : 0) &&
           row->pid == (keys & KP_HOT_PID ? samples->pid[i] : 0) &&
           row->tid == (keys & KP_HOT_TID ? samples->tid[i] : 0) &&
           row->cpu == (keys & KP_HOT_CPU ? samples->cpu[i] : 0);
}

/* Each sample is in exactly one row, and each row's sums are those of its samples. */
static void check_hot(const struct kp_samples *samples, uint32_t keys)
{
    struct kp_hot_row *rows;
    size_t n;
    uint64_t total = 0;
    CHECK_OK(kp_samples_hot(samples, keys, &rows, &n));
    for (size_t row = 0; row < n; row++) {
        uint64_t count = 0, period = 0;
        for (size_t i = 0; i < samples->len; i++)
            if (matches(samples, i, keys, &rows[row])) {
                count++;
                period += samples->period[i];
            }
        CHECK_EQ(rows[row].samples, count);
        CHECK_EQ(rows[row].period, period);
        total += count;
    }
    CHECK_EQ(total, samples->len);
    kp_hot_destroy(rows);
}

TEST(hot_by_every_choice_of_keys)
{
    struct kp_samples *samples = any_samples(300);
    for (uint32_t keys = 0; keys < 128; keys++)
        check_hot(samples, keys);
    kp_samples_destroy(samples);
}

TEST(hot_of_more_rows_than_at_first)
{
    enum { ROWS = 12000 };
    struct kp_store store;
    struct kp_spaces *spaces;
    struct kp_hot_row *rows;
    size_t n;
    CHECK_OK(kp_store_create(&store, 1 << 22, 0, 0));
    CHECK_OK(kp_spaces_create(&spaces));
    for (int32_t i = 0; i < 2 * ROWS; i++) {
        struct kp_sample sample = {.time = (uint64_t)i, .tid = i % ROWS, .period = 1, .ip = 5};
        CHECK_OK(kp_store_add(&store, &sample, 0));
    }
    struct kp_samples *samples = resolve(&store, spaces);
    CHECK_OK(kp_samples_hot(samples, KP_HOT_TID, &rows, &n));
    CHECK_EQ(n, ROWS);
    for (size_t i = 0; i < n; i++) {
        CHECK_EQ(rows[i].samples, 2);
        CHECK_EQ(rows[i].period, 2);
    }
    kp_hot_destroy(rows);
    kp_samples_destroy(samples);
}

TEST(hot_of_nothing)
{
    struct kp_samples *samples = any_samples(0);
    struct kp_hot_row *rows;
    uint64_t stacks[4], below[4], frames[4];
    size_t n = 7;
    CHECK_OK(kp_samples_hot(samples, 127, &rows, &n));
    CHECK_EQ(n, 0);
    kp_hot_destroy(rows);
    CHECK_EQ(samples->n_stacks, 1);
    kp_samples_occurrences(samples, stacks, below, frames);
    CHECK_EQ(stacks[0], 0);
    CHECK_EQ(below[0], 0);
    kp_samples_destroy(samples);
}

/* Recursion counts once a sample: the naive way is to mark the frames that a sample has. */
TEST(occurrences_with_recursion)
{
    struct kp_samples *samples = any_samples(2000);
    size_t n_stacks = samples->n_stacks, n_frames = samples->n_frames;
    uint64_t *got = calloc(2 * n_stacks + n_frames, sizeof(*got));
    uint64_t *want = calloc(2 * n_stacks + n_frames, sizeof(*want));
    size_t *last = calloc(n_frames, sizeof(*last));
    CHECK(got != NULL && want != NULL && last != NULL);
    kp_samples_occurrences(samples, got, got + n_stacks, got + 2 * n_stacks);
    for (size_t i = 0; i < samples->len; i++) {
        uint32_t node = samples->stack[i];
        want[node]++;
        want[n_stacks]++; /* the empty stack is outside of all */
        for (; node != 0; node = samples->stack_parent[node]) {
            uint64_t frame = samples->stack_frame[node];
            want[n_stacks + node]++;
            if (last[frame] != i + 1)
                want[2 * n_stacks + frame]++;
            last[frame] = i + 1;
        }
    }
    for (size_t i = 0; i < 2 * n_stacks + n_frames; i++)
        CHECK_EQ(got[i], want[i]);
    free(got);
    free(want);
    free(last);
    kp_samples_destroy(samples);
}
