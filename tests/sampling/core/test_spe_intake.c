/* SPDX-License-Identifier: Apache-2.0
 * SPE records that get a task and a time, and that are added up: clocks, switches, sums. */
#include "check.h"
#include "clocks.h"
#include "perf_abi.h"
#include "spe_intake.h"

#include <string.h>

enum { PERIOD = 4096, CPU = 1 };

struct rig {
    struct kp_spe_intake intake;
    struct kp_store rows;
    struct kp_loss loss;
    uint64_t offset;
};

static void start(struct rig *rig, uint32_t flags, uint64_t any_events)
{
    struct kp_spe_options options = {
        .period = PERIOD, .any_events = any_events, .flags = flags, .spool_fd = -1};
    memset(rig, 0, sizeof(*rig));
    CHECK_OK(kp_spe_intake_create(&rig->intake, &options, 2, 0));
    CHECK_OK(kp_store_create(&rig->rows, 1 << 20, 0, 1));
    rig->intake.clock = (struct kp_spe_clock){.zero = 1000, .mult = 2048, .shift = 10, .known = 1};
}

static void stop(struct rig *rig)
{
    kp_spe_intake_destroy(&rig->intake);
    kp_store_destroy(&rig->rows);
}

/* ---- what comes in ---- */

static void put(uint8_t **at, uint8_t header, uint64_t payload, size_t size)
{
    *(*at)++ = header;
    memcpy(*at, &payload, size);
    *at += size;
}

static void feed(struct rig *rig, uint32_t context, uint64_t ticks, uint64_t va, uint8_t stores)
{
    uint8_t bytes[64], *at = bytes;
    put(&at, 0xb0, 0x8000000000001000, 8);
    if (context != 0)
        put(&at, 0x64, context, 4);
    put(&at, 0x49, stores, 1);
    put(&at, 0x42, 0x16, 1);
    put(&at, 0x98, 20, 2);
    put(&at, 0xb2, va, 8);
    put(&at, 0x71, ticks, 8);
    size_t n = (size_t)(at - bytes);
    struct kp_spe_chunk chunk = {.cpu = CPU, .pid = 7, .tid = 8, .time = 99, .offset = rig->offset};
    kp_spe_intake_aux(&rig->intake, &chunk, bytes, n, &rig->rows, &rig->loss);
    rig->offset += n;
}

static void runs(struct rig *rig, int32_t pid, int32_t tid, uint64_t time)
{
    struct {
        struct kp_record_header header;
        struct kp_record_end end;
    } record = {.header = {.type = KP_RECORD_SWITCH, .size = sizeof(record)},
                .end = {.pid = pid, .tid = tid, .time = time, .cpu = CPU}};
    CHECK_EQ(kp_spe_intake_side(&rig->intake, (uint8_t *)&record, sizeof(record)), 1);
}

static int32_t tid_of(const struct rig *rig, size_t row)
{
    return ((int32_t *)rig->rows.tid.base)[row];
}

static int32_t pid_of(const struct rig *rig, size_t row)
{
    return ((int32_t *)rig->rows.pid.base)[row];
}

/* ---- tasks and times ---- */

TEST(switches_tell_the_task_of_a_time)
{
    struct rig rig;
    start(&rig, KP_SPE_ROWS, 0);
    feed(&rig, 0, 10, 0x5000, 0); /* before any: who ran at the chunk's end */
    runs(&rig, 50, 51, 1100);
    runs(&rig, 60, 61, 1200);
    feed(&rig, 0, 50, 0x5000, 0);
    feed(&rig, 0, 99, 0x5000, 0);
    feed(&rig, 0, 100, 0x5000, 0);
    feed(&rig, 51, 100, 0x5000, 0); /* the context knows better */
    CHECK_EQ(rig.rows.len, 5);
    static const int32_t tids[] = {8, 51, 51, 61, 51};
    static const int32_t pids[] = {7, 50, 50, 60, 50};
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(tid_of(&rig, i), tids[i]);
        CHECK_EQ(pid_of(&rig, i), pids[i]);
    }
    CHECK_EQ(((uint64_t *)rig.rows.time.base)[1], 1000 + 2 * 50);
    CHECK_EQ(rig.loss.samples, 5);
    kp_spe_intake_settle(&rig.intake, CPU);
    CHECK_EQ(rig.intake.cpus[CPU].n_turns, 1);
    feed(&rig, 0, 200, 0x5000, 0);
    CHECK_EQ(tid_of(&rig, 5), 61);
    stop(&rig);
}

TEST(switches_without_end_are_kept_in_order)
{
    struct rig rig;
    start(&rig, KP_SPE_ROWS, 0);
    for (int32_t i = 1; i <= 1000; i++)
        runs(&rig, i, i, 1000 + 2 * (uint64_t)i);
    for (uint64_t i = 1; i <= 1000; i += 37) {
        feed(&rig, 0, i, 0x5000, 0);
        CHECK_EQ(tid_of(&rig, rig.rows.len - 1), i);
    }
    stop(&rig);
}

TEST(short_counters_wrap_around)
{
    struct kp_spe_clock clock = {.zero = 100,
                                 .mult = 1,
                                 .shift = 0,
                                 .cycles = 0xfffffff0,
                                 .mask = 0xffffffff,
                                 .is_short = 1};
    CHECK_EQ(kp_spe_to_ns(&clock, 0xfffffff8), 100 + 0xfffffff8ull);
    CHECK_EQ(kp_spe_to_ns(&clock, 4), 100 + 0x100000004ull);
}

TEST(perf_time_becomes_monotonic_between_looks)
{
    struct kp_clocks clocks = {.n = 3};
    static const uint64_t pairs[][2] = {{1000, 5000}, {2000, 6100}, {4000, 8100}};
    CHECK_EQ(kp_clocks_to_monotonic(&(struct kp_clocks){.n = 0}, 77), 77);
    for (size_t i = 0; i < 3; i++) {
        clocks.pairs[i].perf = pairs[i][0];
        clocks.pairs[i].monotonic = pairs[i][1];
    }
    CHECK_EQ(kp_clocks_to_monotonic(&clocks, 900), 4900);
    CHECK_EQ(kp_clocks_to_monotonic(&clocks, 1000), 5000);
    CHECK_EQ(kp_clocks_to_monotonic(&clocks, 1500), 5550);
    CHECK_EQ(kp_clocks_to_monotonic(&clocks, 3000), 7100);
    CHECK_EQ(kp_clocks_to_monotonic(&clocks, 5000), 9100);
}

/* ---- sums ---- */

TEST(sums_have_one_cell_for_what_is_alike)
{
    struct rig rig;
    start(&rig, KP_SPE_SUMS | KP_SPE_LINES, 0);
    for (int i = 0; i < 100; i++)
        feed(&rig, 5, 10, 0x5000, 0);
    feed(&rig, 5, 10, 0x5008, 1);
    CHECK_EQ(rig.intake.tallies.cells.n, 2);
    CHECK_EQ(rig.intake.tallies.lines.n, 2);
    CHECK_OK(kp_spe_tallies_move(&rig.intake.tallies, PERIOD, 0, &rig.rows));
    CHECK_EQ(rig.rows.len, 4);
    CHECK_EQ(((uint64_t *)rig.rows.period.base)[0], 100 * PERIOD);
    struct kp_spe_cell cell;
    struct kp_spe_line line;
    CHECK_EQ(((uint32_t *)rig.rows.extra_size.base)[0], sizeof(cell));
    CHECK_EQ(((uint32_t *)rig.rows.extra_size.base)[3], sizeof(line));
    memcpy(&cell, rig.rows.extra.base, sizeof(cell));
    CHECK_EQ(cell.samples, 100);
    CHECK_EQ(cell.total, 2000);
    memcpy(&line, rig.rows.extra.base + 2 * sizeof(cell) + sizeof(line), sizeof(line));
    CHECK_EQ(line.address, 0x5000);
    CHECK_EQ(line.offset, 8);
    CHECK_EQ(line.writes, 1);
    CHECK_EQ(rig.intake.tallies.cells.n, 0);
    stop(&rig);
}

TEST(events_that_nobody_asked_for_are_left_out)
{
    struct rig rig;
    start(&rig, KP_SPE_ROWS, 0x80);
    feed(&rig, 5, 10, 0x5000, 0);
    CHECK_EQ(rig.rows.len, 0);
    CHECK_EQ(kp_spe_intake_report(&rig.intake).filtered, 1);
    stop(&rig);
}

TEST(a_full_table_takes_no_other_key)
{
    struct kp_tally tally;
    uint64_t key[1];
    CHECK_OK(kp_tally_create(&tally, sizeof(key), sizeof(uint64_t), 5000));
    for (key[0] = 0; key[0] < 5000; key[0]++)
        ++*(uint64_t *)kp_tally_at(&tally, key);
    CHECK(kp_tally_at(&tally, key) == NULL);
    for (key[0] = 0; key[0] < 5000; key[0] += 2)
        ++*(uint64_t *)kp_tally_at(&tally, key);
    kp_tally_clear(&tally);
    CHECK_EQ(tally.n, 0);
    key[0] = 3;
    CHECK_EQ(*(uint64_t *)kp_tally_at(&tally, key), 0);
    kp_tally_destroy(&tally);
}

static int is_two(const void *value)
{
    return *(const uint64_t *)value == 2;
}

TEST(a_filter_keeps_keys_and_values_together)
{
    struct kp_tally tally;
    uint64_t key[1];
    CHECK_OK(kp_tally_create(&tally, sizeof(key), sizeof(uint64_t), 5000));
    for (key[0] = 0; key[0] < 3000; key[0]++)
        *(uint64_t *)kp_tally_at(&tally, key) = 1 + key[0] % 3 / 2;
    kp_tally_filter(&tally, is_two);
    CHECK_EQ(tally.n, 1000);
    for (key[0] = 2; key[0] < 3000; key[0] += 3)
        CHECK_EQ(*(uint64_t *)kp_tally_at(&tally, key), 2);
    CHECK_EQ(tally.n, 1000);
    kp_tally_destroy(&tally);
}
