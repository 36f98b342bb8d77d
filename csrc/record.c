/* SPDX-License-Identifier: Apache-2.0
 * PERF_RECORD_* decoded. The order of a sample's fields is measured, not copied from a header's
 * comment (some have it wrong): IDENTIFIER, IP, TID, TIME, ADDR, CPU, PERIOD, CALLCHAIN, RAW,
 * BRANCH_STACK. */
#include "record.h"

#include "perf_abi.h"

#include <string.h>

/* A place in a record; `bad` once something was wanted that is not there. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    int bad;
};

static const uint8_t *take(struct cursor *cursor, uint64_t size)
{
    if (size > (uint64_t)(cursor->end - cursor->at)) {
        cursor->bad = 1;
        return NULL;
    }
    const uint8_t *at = cursor->at;
    cursor->at += size;
    return at;
}

static uint64_t take_u64(struct cursor *cursor)
{
    uint64_t value = 0;
    const uint8_t *at = take(cursor, sizeof(value));
    if (at != NULL)
        memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t take_u32(struct cursor *cursor)
{
    uint32_t value = 0;
    const uint8_t *at = take(cursor, sizeof(value));
    if (at != NULL)
        memcpy(&value, at, sizeof(value));
    return value;
}

static struct cursor body_of(const uint8_t *record, size_t size)
{
    struct cursor cursor = {.at = record, .end = record + size};
    take(&cursor, sizeof(struct kp_record_header));
    return cursor;
}

static uint16_t misc_of(const uint8_t *record)
{
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    return header.misc;
}

/* ---- samples ---- */

/* Entries of `width` bytes behind their number. */
static const uint8_t *take_array(struct cursor *cursor, uint64_t n, size_t width, size_t *out)
{
    if (n > (uint64_t)(cursor->end - cursor->at) / width) {
        cursor->bad = 1;
        return NULL;
    }
    *out = (size_t)n;
    return take(cursor, n * width);
}

static void take_raw(struct cursor *cursor, struct kp_sample *out)
{
    uint32_t size = take_u32(cursor);
    out->raw = take(cursor, size);
    out->raw_size = out->raw == NULL ? 0 : size;
    /* The size field and the bytes together are padded to 8. */
    take(cursor, (8 - (sizeof(size) + size) % 8) % 8);
}

int kp_record_sample(const uint8_t *record, size_t size, uint64_t sample_type, int has_branch_index,
                     struct kp_sample *out)
{
    struct cursor cursor = body_of(record, size);
    memset(out, 0, sizeof(*out));
    if (cursor.bad)
        return -1;
    out->mode = misc_of(record) & KP_MISC_CPUMODE;
    if (sample_type & KP_SAMPLE_IDENTIFIER)
        out->id = take_u64(&cursor);
    if (sample_type & KP_SAMPLE_IP)
        out->ip = take_u64(&cursor);
    if (sample_type & KP_SAMPLE_TID) {
        out->pid = (int32_t)take_u32(&cursor);
        out->tid = (int32_t)take_u32(&cursor);
    }
    if (sample_type & KP_SAMPLE_TIME)
        out->time = take_u64(&cursor);
    if (sample_type & KP_SAMPLE_ADDR)
        out->addr = take_u64(&cursor);
    if (sample_type & KP_SAMPLE_CPU)
        out->cpu = (int32_t)(take_u64(&cursor) & UINT32_MAX);
    if (sample_type & KP_SAMPLE_PERIOD)
        out->period = take_u64(&cursor);
    if (sample_type & KP_SAMPLE_CALLCHAIN) {
        uint64_t n = take_u64(&cursor);
        out->chain = take_array(&cursor, n, sizeof(uint64_t), &out->n_chain);
    }
    if (sample_type & KP_SAMPLE_RAW)
        take_raw(&cursor, out);
    if (sample_type & KP_SAMPLE_BRANCH_STACK) {
        uint64_t n = take_u64(&cursor);
        if (has_branch_index)
            take_u64(&cursor);
        out->branches = take_array(&cursor, n, 24, &out->n_branches);
    }
    return cursor.bad ? -1 : 0;
}

/* ---- side-band ---- */

/* TID, TIME, CPU, IDENTIFIER: what stands behind every other record of ours. */
enum { TRAILER = 32, TRAILER_TIME = 8, TRAILER_ID = 24 };

int kp_record_trailer(const uint8_t *record, size_t size, uint64_t *time, uint64_t *id)
{
    if (size < sizeof(struct kp_record_header) + TRAILER)
        return -1;
    memcpy(time, record + size - TRAILER + TRAILER_TIME, sizeof(*time));
    memcpy(id, record + size - TRAILER + TRAILER_ID, sizeof(*id));
    return 0;
}

uint64_t kp_record_number_lost(const uint8_t *record, size_t size)
{
    struct kp_record_header header;
    struct kp_record_lost fields;
    uint64_t lost = 0;
    memcpy(&header, record, sizeof(header));
    if (header.type == KP_RECORD_LOST && size >= sizeof(fields)) {
        memcpy(&fields, record, sizeof(fields));
        lost = fields.lost;
    } else if (header.type == KP_RECORD_LOST_SAMPLES && size >= sizeof(header) + sizeof(lost)) {
        memcpy(&lost, record + sizeof(header), sizeof(lost));
    }
    return lost;
}

static void take_name(struct cursor *cursor, struct kp_side *out)
{
    out->name = (const char *)cursor->at;
    out->name_size = strnlen(out->name, (size_t)(cursor->end - cursor->at));
}

static void take_map(struct cursor *cursor, uint16_t misc, struct kp_side *out)
{
    out->kind = KP_SIDE_MAP;
    out->pid = (int32_t)take_u32(cursor);
    out->tid = (int32_t)take_u32(cursor);
    out->start = take_u64(cursor);
    out->length = take_u64(cursor);
    out->offset = take_u64(cursor);
    const uint8_t *identity = take(cursor, 24);
    take(cursor, 8); /* protection and flags */
    if (identity != NULL && misc & KP_MISC_MMAP_BUILD_ID) {
        out->build_id_size = identity[0] > KP_BUILD_ID_MOST ? KP_BUILD_ID_MOST : identity[0];
        memcpy(out->build_id, identity + 4, out->build_id_size);
    } else if (identity != NULL) {
        memcpy(&out->device_major, identity, 4);
        memcpy(&out->device_minor, identity + 4, 4);
        memcpy(&out->inode, identity + 8, 8);
    }
    take_name(cursor, out);
}

static void take_comm(struct cursor *cursor, uint16_t misc, struct kp_side *out)
{
    out->kind = misc & KP_MISC_COMM_EXEC ? KP_SIDE_EXEC : KP_SIDE_COMM;
    out->pid = (int32_t)take_u32(cursor);
    out->tid = (int32_t)take_u32(cursor);
    take_name(cursor, out);
}

static void take_task(struct cursor *cursor, enum kp_side_kind kind, struct kp_side *out)
{
    out->kind = kind;
    out->pid = (int32_t)take_u32(cursor);
    out->ppid = (int32_t)take_u32(cursor);
    out->tid = (int32_t)take_u32(cursor);
    out->ptid = (int32_t)take_u32(cursor);
}

int kp_record_side(const uint8_t *record, size_t size, struct kp_side *out)
{
    struct kp_record_header header;
    uint64_t id;
    memset(out, 0, sizeof(*out));
    if (kp_record_trailer(record, size, &out->time, &id) != 0)
        return -1;
    memcpy(&header, record, sizeof(header));
    struct cursor cursor = body_of(record, size - TRAILER);
    switch (header.type) {
    case KP_RECORD_MMAP2:
        take_map(&cursor, header.misc, out);
        break;
    case KP_RECORD_COMM:
        take_comm(&cursor, header.misc, out);
        break;
    case KP_RECORD_FORK:
        take_task(&cursor, KP_SIDE_FORK, out);
        break;
    case KP_RECORD_EXIT:
        take_task(&cursor, KP_SIDE_EXIT, out);
        break;
    default:
        return 1;
    }
    return cursor.bad ? -1 : 0;
}
