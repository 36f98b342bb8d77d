/* SPDX-License-Identifier: Apache-2.0
 * SPE records decoded: their fields, streams cut anywhere, gaps, and bytes that make no sense.
 * tests/spe has perf judge the packets. */
#include "check.h"
#include "spe.h"

#include <string.h>

enum { MOST = 1024 };

struct taken {
    struct kp_spe_record records[8];
    size_t n;
};

static void take(void *context, const struct kp_spe_record *record)
{
    struct taken *taken = context;
    CHECK(taken->n < 8);
    taken->records[taken->n++] = *record;
}

/* ---- an encoder ---- */

struct bytes {
    uint8_t at[MOST];
    size_t n;
};

static void put(struct bytes *bytes, uint8_t header, uint64_t payload, size_t size)
{
    CHECK(bytes->n + 1 + size <= MOST);
    bytes->at[bytes->n++] = header;
    memcpy(bytes->at + bytes->n, &payload, size);
    bytes->n += size;
}

/* A load by the kernel with every field. */
static void put_load(struct bytes *bytes, uint64_t time)
{
    put(bytes, 0xb0, 0xa000000000001234 | 0x00ff800000000000, 8);
    put(bytes, 0x65, 4711, 4);
    put(bytes, 0x49, 0x00, 1);
    put(bytes, 0x52, 0x16, 2);
    put(bytes, 0x99, 8, 2);
    put(bytes, 0x98, 32, 2);
    put(bytes, 0xb2, 0x5aff000000001000, 8);
    put(bytes, 0x9a, 3, 2);
    put(bytes, 0xb3, 0x8500002080000000, 8);
    put(bytes, 0x43, 8, 1);
    put(bytes, 0x71, time, 8);
}

static void put_branch(struct bytes *bytes)
{
    put(bytes, 0xb0, 0x8000000000002000, 8);
    put(bytes, 0x4a, 0x01, 1);
    put(bytes, 0x42, 0x82, 1);
    put(bytes, 0xb1, 0x8000000000001ff0, 8);
    put(bytes, 0xb4, 0xc000000000003000, 8);
    put(bytes, 0x01, 0, 0);
}

/* Decodes bytes that lie in memory of their exact size. */
static void feed(struct kp_spe_decoder *decoder, uint64_t offset, const uint8_t *bytes, size_t n,
                 struct taken *taken)
{
    uint8_t *copy = malloc(n + 1);
    CHECK(copy != NULL);
    memcpy(copy + 1, bytes, n);
    kp_spe_feed(decoder, offset, copy + 1, n, take, taken);
    free(copy);
}

/* ---- fields ---- */

TEST(load_has_every_field)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    put_load(&bytes, 1000000);
    feed(&decoder, 0, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 1);
    const struct kp_spe_record *record = &taken.records[0];
    CHECK(record->pc == 0xffff800000001234);
    CHECK_EQ(record->pc_level, 4 | 1);
    CHECK(record->va == 0xffff000000001000);
    CHECK_EQ(record->va_tag, 0x5a);
    CHECK(record->pa == 0x2080000000);
    CHECK_EQ(record->pa_attributes, 0x85);
    CHECK_EQ(record->context, 4711);
    CHECK_EQ(record->op, 0x100);
    CHECK_EQ(record->events, 0x16);
    CHECK_EQ(record->total, 32);
    CHECK_EQ(record->issue, 8);
    CHECK_EQ(record->translation, 3);
    CHECK_EQ(record->source, 8);
    CHECK_EQ(record->time, 1000000);
    CHECK_EQ(record->has, 0x1fff & ~(KP_SPE_HAS_TARGET | KP_SPE_HAS_PREVIOUS));
}

TEST(branch_has_its_targets)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    put_branch(&bytes);
    feed(&decoder, 0, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 1);
    CHECK_EQ(taken.records[0].pc, 0x2000);
    CHECK_EQ(taken.records[0].target, 0x1ff0);
    CHECK(taken.records[0].previous == 0xff00000000003000);
    CHECK_EQ(taken.records[0].op, 0x201);
    CHECK_EQ(taken.records[0].has & KP_SPE_HAS_TIME, 0);
}

TEST(secure_and_monitor_addresses_are_not_extended)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    put(&bytes, 0xb0, 0x2080000000001000, 8);
    put(&bytes, 0x01, 0, 0);
    put(&bytes, 0xb0, 0xe080000000001000, 8);
    put(&bytes, 0x01, 0, 0);
    feed(&decoder, 0, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 2);
    CHECK(taken.records[0].pc == 0x80000000001000);
    CHECK(taken.records[1].pc == 0x80000000001000);
}

/* ---- streams ---- */

TEST(records_cut_anywhere_are_whole)
{
    struct bytes bytes = {0};
    struct taken whole = {0};
    struct kp_spe_decoder decoder = {0};
    for (int i = 0; i < 3; i++) {
        put_load(&bytes, 1000u + (unsigned)i);
        put_branch(&bytes);
    }
    feed(&decoder, 64, bytes.at, bytes.n, &whole);
    CHECK_EQ(whole.n, 6);
    for (size_t chunk = 1; chunk < bytes.n; chunk++) {
        struct kp_spe_decoder again = {0};
        struct taken taken = {0};
        for (size_t at = 0; at < bytes.n; at += chunk)
            feed(&again, 64 + at, bytes.at + at, at + chunk < bytes.n ? chunk : bytes.n - at,
                 &taken);
        CHECK_EQ(taken.n, whole.n);
        CHECK(memcmp(&taken, &whole, sizeof(whole)) == 0);
        CHECK_EQ(again.stats.corrupt, 0);
        CHECK_EQ(again.stats.cut, 0);
        CHECK_EQ(again.stats.bytes, bytes.n);
    }
}

TEST(record_cut_by_a_gap_is_counted)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    put_load(&bytes, 1);
    feed(&decoder, 0, bytes.at, bytes.n - 4, &taken);
    feed(&decoder, 4096, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 1);
    CHECK_EQ(taken.records[0].time, 1);
    CHECK_EQ(decoder.stats.cut, 1);
    CHECK_EQ(decoder.stats.records, 1);
    kp_spe_finish(&decoder);
    CHECK_EQ(decoder.stats.cut, 1);
}

TEST(corrupt_bytes_are_counted_and_survived)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    put(&bytes, 0xff, 0, 0);
    put_load(&bytes, 1);
    put(&bytes, 0x80, 0, 0);
    put(&bytes, 0x0f, 0, 0);
    put_branch(&bytes);
    feed(&decoder, 0, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 2);
    CHECK_EQ(taken.records[0].total, 32);
    CHECK_EQ(taken.records[1].target, 0x1ff0);
    CHECK_EQ(decoder.stats.corrupt, 3);
}

TEST(alignment_counts_from_the_aux_offset)
{
    /* From offset 13 the alignment to 16 takes 3 bytes, and not what the pointer would say. */
    static const uint8_t stream[] = {0x23, 0x00, 0xee, 0x4a, 0x01, 0x01};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    feed(&decoder, 13, stream, sizeof(stream), &taken);
    CHECK_EQ(taken.n, 1);
    CHECK_EQ(taken.records[0].op, 0x201);
    CHECK_EQ(decoder.stats.corrupt, 0);
}

TEST(padding_and_a_lone_time_are_no_records)
{
    struct bytes bytes = {0};
    struct kp_spe_decoder decoder = {0};
    struct taken taken = {0};
    for (int i = 0; i < 30; i++)
        put(&bytes, 0x00, 0, 0);
    put(&bytes, 0x71, 5, 8);
    put(&bytes, 0x01, 0, 0);
    feed(&decoder, 0, bytes.at, bytes.n, &taken);
    CHECK_EQ(taken.n, 0);
    CHECK_EQ(decoder.stats.corrupt, 0);
}
