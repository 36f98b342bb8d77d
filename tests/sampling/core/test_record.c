/* SPDX-License-Identifier: Apache-2.0
 * Records decoded: every combination of fields, the side-band, and bytes that make no sense.
 *
 * What is decoded lies in memory of its exact size, so that a sanitizer or valgrind sees a byte
 * read too many. */
#include "check.h"
#include "record.h"

#include <string.h>

enum { MOST = 4096, BRANCH_BYTES = 24, TRAILER_BYTES = 32 };

static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* ---- an encoder ---- */

struct bytes {
    uint8_t at[MOST];
    size_t n;
};

static void put(struct bytes *bytes, const void *from, size_t size)
{
    CHECK(bytes->n + size <= MOST);
    memcpy(bytes->at + bytes->n, from, size);
    bytes->n += size;
}

static void put_u64(struct bytes *bytes, uint64_t value)
{
    put(bytes, &value, sizeof(value));
}

static void put_u32(struct bytes *bytes, uint32_t value)
{
    put(bytes, &value, sizeof(value));
}

static struct bytes begin(uint32_t type, uint16_t misc)
{
    struct bytes bytes = {.n = 0};
    struct kp_record_header header = {.type = type, .misc = misc};
    put(&bytes, &header, sizeof(header));
    return bytes;
}

static void end(struct bytes *bytes)
{
    uint16_t size = (uint16_t)bytes->n;
    memcpy(bytes->at + offsetof(struct kp_record_header, size), &size, sizeof(size));
}

static uint8_t *exact(const void *from, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    CHECK(copy != NULL);
    memcpy(copy, from, size);
    return copy;
}

/* ---- samples ---- */

enum { MOST_CHAIN = 5, MOST_RAW = 21, MOST_BRANCHES = 3 };

struct original {
    struct kp_sample sample;
    uint64_t chain[MOST_CHAIN];
    uint8_t raw[MOST_RAW];
    uint8_t branches[MOST_BRANCHES * BRANCH_BYTES];
};

static void fill(void *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)at)[i] = (uint8_t)any();
}

static struct original make_original(void)
{
    struct original original;
    fill(&original, sizeof(original));
    original.sample.mode = (uint32_t)any() & KP_MISC_CPUMODE;
    original.sample.n_chain = any() % (MOST_CHAIN + 1);
    original.sample.raw_size = any() % (MOST_RAW + 1);
    original.sample.n_branches = any() % (MOST_BRANCHES + 1);
    return original;
}

static void put_raw(struct bytes *bytes, const struct original *original)
{
    static const uint8_t padding[8];
    size_t size = original->sample.raw_size;
    put_u32(bytes, (uint32_t)size);
    put(bytes, original->raw, size);
    while (bytes->n % 8 != 0)
        put(bytes, padding, 1);
}

static struct bytes encode(const struct original *original, uint64_t type, int has_branch_index)
{
    const struct kp_sample *sample = &original->sample;
    struct bytes bytes = begin(KP_RECORD_SAMPLE, (uint16_t)sample->mode);
    if (type & KP_SAMPLE_IDENTIFIER)
        put_u64(&bytes, sample->id);
    if (type & KP_SAMPLE_IP)
        put_u64(&bytes, sample->ip);
    if (type & KP_SAMPLE_TID) {
        put_u32(&bytes, (uint32_t)sample->pid);
        put_u32(&bytes, (uint32_t)sample->tid);
    }
    if (type & KP_SAMPLE_TIME)
        put_u64(&bytes, sample->time);
    if (type & KP_SAMPLE_ADDR)
        put_u64(&bytes, sample->addr);
    if (type & KP_SAMPLE_CPU) {
        put_u32(&bytes, (uint32_t)sample->cpu);
        put_u32(&bytes, (uint32_t)any()); /* reserved */
    }
    if (type & KP_SAMPLE_PERIOD)
        put_u64(&bytes, sample->period);
    if (type & KP_SAMPLE_CALLCHAIN) {
        put_u64(&bytes, sample->n_chain);
        put(&bytes, original->chain, sample->n_chain * sizeof(uint64_t));
    }
    if (type & KP_SAMPLE_RAW)
        put_raw(&bytes, original);
    if (type & KP_SAMPLE_BRANCH_STACK) {
        put_u64(&bytes, sample->n_branches);
        if (has_branch_index)
            put_u64(&bytes, any());
        put(&bytes, original->branches, sample->n_branches * BRANCH_BYTES);
    }
    end(&bytes);
    return bytes;
}

static void check_same(const struct original *original, uint64_t type, const struct kp_sample *got)
{
    const struct kp_sample *sample = &original->sample;
    CHECK_EQ(got->mode, sample->mode);
    CHECK_EQ(got->id, type & KP_SAMPLE_IDENTIFIER ? sample->id : 0);
    CHECK_EQ(got->ip, type & KP_SAMPLE_IP ? sample->ip : 0);
    CHECK_EQ(got->pid, type & KP_SAMPLE_TID ? sample->pid : 0);
    CHECK_EQ(got->tid, type & KP_SAMPLE_TID ? sample->tid : 0);
    CHECK_EQ(got->time, type & KP_SAMPLE_TIME ? sample->time : 0);
    CHECK_EQ(got->addr, type & KP_SAMPLE_ADDR ? sample->addr : 0);
    CHECK_EQ(got->cpu, type & KP_SAMPLE_CPU ? sample->cpu : 0);
    CHECK_EQ(got->period, type & KP_SAMPLE_PERIOD ? sample->period : 0);
    CHECK_EQ(got->n_chain, type & KP_SAMPLE_CALLCHAIN ? sample->n_chain : 0);
    CHECK_EQ(got->raw_size, type & KP_SAMPLE_RAW ? sample->raw_size : 0);
    CHECK_EQ(got->n_branches, type & KP_SAMPLE_BRANCH_STACK ? sample->n_branches : 0);
    CHECK(got->n_chain == 0 || memcmp(got->chain, original->chain, got->n_chain * 8) == 0);
    CHECK(got->raw_size == 0 || memcmp(got->raw, original->raw, got->raw_size) == 0);
    CHECK(got->n_branches == 0 ||
          memcmp(got->branches, original->branches, got->n_branches * BRANCH_BYTES) == 0);
}

static const uint64_t fields[] = {
    KP_SAMPLE_IDENTIFIER, KP_SAMPLE_IP,           KP_SAMPLE_TID,    KP_SAMPLE_TIME,
    KP_SAMPLE_ADDR,       KP_SAMPLE_CPU,          KP_SAMPLE_PERIOD, KP_SAMPLE_CALLCHAIN,
    KP_SAMPLE_RAW,        KP_SAMPLE_BRANCH_STACK,
};
enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

static uint64_t type_of(unsigned combination)
{
    uint64_t type = 0;
    for (unsigned i = 0; i < N_FIELDS; i++)
        type |= combination >> i & 1 ? fields[i] : 0;
    return type;
}

/* A whole record is read back; of one that is cut short anywhere it is said. */
static void check_combination(uint64_t type, int has_branch_index)
{
    struct original original = make_original();
    struct bytes bytes = encode(&original, type, has_branch_index);
    struct kp_sample got;
    uint8_t *record = exact(bytes.at, bytes.n);
    CHECK_EQ(kp_record_sample(record, bytes.n, type, has_branch_index, &got), 0);
    check_same(&original, type, &got);
    free(record);
    for (size_t size = 0; size < bytes.n; size++) {
        record = exact(bytes.at, size);
        CHECK_EQ(kp_record_sample(record, size, type, has_branch_index, &got), -1);
        free(record);
    }
}

TEST(record_of_every_combination_of_fields)
{
    for (unsigned combination = 0; combination < 1u << N_FIELDS; combination++)
        for (int has_branch_index = 0; has_branch_index < 2; has_branch_index++)
            check_combination(type_of(combination), has_branch_index);
}

/* What a decoder tells to be in a record is within it, wherever its bytes come from. */
static int within(const uint8_t *record, size_t size, const void *at, size_t n)
{
    const uint8_t *from = at;
    return n == 0 ||
           (from >= record && from <= record + size && n <= (size_t)(record + size - from));
}

static void check_any_sample(const uint8_t *bytes, size_t size, uint64_t type)
{
    struct kp_sample got;
    uint8_t *record = exact(bytes, size);
    if (kp_record_sample(record, size, type, (int)(any() & 1), &got) == 0) {
        CHECK(within(record, size, got.chain, got.n_chain * 8));
        CHECK(within(record, size, got.raw, got.raw_size));
        CHECK(within(record, size, got.branches, got.n_branches * BRANCH_BYTES));
    }
    free(record);
}

static void check_any_side(const uint8_t *bytes, size_t size)
{
    struct kp_side got;
    uint8_t *record = exact(bytes, size);
    int rc = kp_record_side(record, size, &got);
    CHECK(rc == 0 || rc == 1 || rc == -1);
    if (rc == 0) {
        CHECK(within(record, size, got.name, got.name_size));
        CHECK(got.name_size == 0 || memchr(got.name, '\0', got.name_size) == NULL);
        CHECK(got.build_id_size <= KP_BUILD_ID_MOST);
    }
    free(record);
}

TEST(record_of_any_bytes)
{
    static const uint32_t types[] = {KP_RECORD_MMAP2, KP_RECORD_COMM, KP_RECORD_FORK,
                                     KP_RECORD_EXIT};
    int times = repeat(200000);
    for (int i = 0; i < times; i++) {
        uint8_t bytes[256];
        size_t size = any() % (sizeof(bytes) + 1);
        fill(bytes, sizeof(bytes));
        if (i & 1)
            memcpy(bytes, &types[any() % 4], sizeof(types[0]));
        check_any_sample(bytes, size, type_of((unsigned)any()));
        check_any_side(bytes, size);
    }
}

/* One bit, byte or count of a good record changed. */
TEST(record_of_changed_bytes)
{
    static const uint64_t counts[] = {0,
                                      1,
                                      UINT32_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX / 8,
                                      UINT64_MAX / 24,
                                      1ull << 61,
                                      (1ull << 61) + 1};
    int times = repeat(100000);
    for (int i = 0; i < times; i++) {
        uint64_t type = type_of((unsigned)any());
        struct original original = make_original();
        struct bytes bytes = encode(&original, type, 0);
        size_t at = any() % bytes.n & ~(size_t)7;
        if (any() & 1)
            memcpy(bytes.at + at, &counts[any() % 8], sizeof(counts[0]));
        else
            bytes.at[any() % bytes.n] ^= (uint8_t)(1 << any() % 8);
        check_any_sample(bytes.at, bytes.n, type);
    }
}

/* ---- side-band ---- */

enum { PID = 1234, TID = 1235, TIME = 987654321, ID = 77 };

static void put_trailer(struct bytes *bytes)
{
    put_u32(bytes, PID);
    put_u32(bytes, TID);
    put_u64(bytes, TIME);
    put_u64(bytes, 1);
    put_u64(bytes, ID);
    end(bytes);
}

static void put_name(struct bytes *bytes, const char *name, size_t size)
{
    put(bytes, name, size);
}

static struct bytes map_record(uint16_t misc, const void *identity, const char *name, size_t size)
{
    struct bytes bytes = begin(KP_RECORD_MMAP2, misc);
    put_u32(&bytes, PID);
    put_u32(&bytes, TID);
    put_u64(&bytes, 0x7f0000001000);
    put_u64(&bytes, 0x2000);
    put_u64(&bytes, 0x3000);
    put(&bytes, identity, 24);
    put_u64(&bytes, any()); /* protection and flags */
    put_name(&bytes, name, size);
    put_trailer(&bytes);
    return bytes;
}

/* The caller frees the record: `side` points into it. */
static uint8_t *decode(const struct bytes *bytes, struct kp_side *side)
{
    uint8_t *record = exact(bytes->at, bytes->n);
    CHECK_EQ(kp_record_side(record, bytes->n, side), 0);
    CHECK_EQ(side->time, TIME);
    CHECK_EQ(side->pid, PID);
    return record;
}

static void check_name(const struct kp_side *side, const char *name)
{
    CHECK_EQ(side->name_size, strlen(name));
    CHECK(memcmp(side->name, name, side->name_size) == 0);
}

static void check_map(const struct kp_side *side)
{
    CHECK_EQ(side->kind, KP_SIDE_MAP);
    CHECK_EQ(side->tid, TID);
    CHECK_EQ(side->start, 0x7f0000001000);
    CHECK_EQ(side->length, 0x2000);
    CHECK_EQ(side->offset, 0x3000);
}

TEST(record_of_a_mapping_by_inode)
{
    uint32_t identity[6] = {8, 3, 0x89abcdef, 0x01234567, 5, 6};
    struct bytes bytes = map_record(0, identity, "/usr/bin/name\0\0\0", 16);
    struct kp_side side;
    uint8_t *record = decode(&bytes, &side);
    check_map(&side);
    check_name(&side, "/usr/bin/name");
    CHECK_EQ(side.device_major, 8);
    CHECK_EQ(side.device_minor, 3);
    CHECK_EQ(side.inode, 0x0123456789abcdef);
    CHECK_EQ(side.build_id_size, 0);
    free(record);
}

static void check_build_id(uint8_t told, uint8_t kept)
{
    uint8_t identity[24] = {told, 0, 0, 0};
    struct kp_side side;
    for (uint8_t i = 0; i < 20; i++)
        identity[4 + i] = (uint8_t)(i + 1);
    struct bytes bytes = map_record(KP_MISC_MMAP_BUILD_ID, identity, "/lib/x\0", 8);
    uint8_t *record = decode(&bytes, &side);
    check_map(&side);
    check_name(&side, "/lib/x");
    CHECK_EQ(side.build_id_size, kept);
    CHECK(memcmp(side.build_id, identity + 4, kept) == 0);
    CHECK_EQ(side.inode, 0);
    free(record);
}

TEST(record_of_a_mapping_by_build_id)
{
    check_build_id(20, 20);
    check_build_id(16, 16);
    check_build_id(0, 0);
    check_build_id(255, 20); /* more than there is room for */
}

TEST(record_of_a_name_without_an_end)
{
    uint32_t identity[6] = {0};
    struct bytes bytes = map_record(0, identity, "/12345678901234", 15);
    struct kp_side side;
    uint8_t *record = decode(&bytes, &side);
    check_name(&side, "/12345678901234");
    free(record);
    bytes = map_record(0, identity, "", 0);
    record = decode(&bytes, &side);
    CHECK_EQ(side.name_size, 0);
    free(record);
}

static void check_comm(uint16_t misc, enum kp_side_kind kind)
{
    struct bytes bytes = begin(KP_RECORD_COMM, misc);
    struct kp_side side;
    put_u32(&bytes, PID);
    put_u32(&bytes, TID);
    put_name(&bytes, "sleep\0\0\0", 8);
    put_trailer(&bytes);
    uint8_t *record = decode(&bytes, &side);
    CHECK_EQ(side.kind, kind);
    CHECK_EQ(side.tid, TID);
    check_name(&side, "sleep");
    free(record);
}

TEST(record_of_a_name)
{
    check_comm(0, KP_SIDE_COMM);
    check_comm(KP_MISC_COMM_EXEC, KP_SIDE_EXEC);
}

static void check_task(uint32_t type, enum kp_side_kind kind)
{
    struct bytes bytes = begin(type, 0);
    struct kp_side side;
    put_u32(&bytes, PID);
    put_u32(&bytes, 1);
    put_u32(&bytes, TID);
    put_u32(&bytes, 2);
    put_u64(&bytes, 5); /* its own time: the trailer's counts, as in every other record */
    put_trailer(&bytes);
    uint8_t *record = decode(&bytes, &side);
    CHECK_EQ(side.kind, kind);
    CHECK_EQ(side.ppid, 1);
    CHECK_EQ(side.tid, TID);
    CHECK_EQ(side.ptid, 2);
    free(record);
}

TEST(record_of_a_task)
{
    check_task(KP_RECORD_FORK, KP_SIDE_FORK);
    check_task(KP_RECORD_EXIT, KP_SIDE_EXIT);
}

TEST(record_of_another_type)
{
    struct bytes bytes = begin(KP_RECORD_KSYMBOL, 0);
    struct kp_side side;
    put_trailer(&bytes);
    uint8_t *record = exact(bytes.at, bytes.n);
    CHECK_EQ(kp_record_side(record, bytes.n, &side), 1);
    free(record);
}

TEST(record_that_is_cut_short)
{
    uint32_t identity[6] = {0};
    struct bytes bytes = map_record(0, identity, "", 0);
    struct kp_side side;
    uint64_t time, id;
    uint8_t *record = exact(bytes.at, bytes.n);
    CHECK_EQ(kp_record_trailer(record, bytes.n, &time, &id), 0);
    CHECK_EQ(time, TIME);
    CHECK_EQ(id, ID);
    free(record);
    for (size_t size = 0; size < bytes.n; size++) {
        record = exact(bytes.at, size);
        CHECK_EQ(kp_record_side(record, size, &side), -1);
        CHECK_EQ(kp_record_trailer(record, size, &time, &id),
                 size < sizeof(struct kp_record_header) + TRAILER_BYTES ? -1 : 0);
        free(record);
    }
}
