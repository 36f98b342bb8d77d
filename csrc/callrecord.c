/* SPDX-License-Identifier: Apache-2.0
 * What the records of a trace's rings say, told to the pairing. Nothing in them is trusted. */
#include "callrecord.h"

#include "perf_abi.h"
#include "record.h"

#include <string.h>

/* The fields behind common_*, as events/raw_syscalls and events/sched have them. */
struct raw_call {
    int64_t number;
    int64_t ret; /* sys_exit */
};

struct raw_exec {
    uint32_t file;
    int32_t pid;
    int32_t old_pid;
};

enum { COMMON = 8, REGS_ABI_32 = 1 };

static const struct {
    size_t enter, exit, exec;
} raw_sizes = {COMMON + sizeof(int64_t), COMMON + sizeof(struct raw_call),
               COMMON + sizeof(struct raw_exec)};

/* The width of a program is told behind the raw bytes, as the kind of its registers. */
static uint8_t bits_of(const struct kp_sample *sample, const uint8_t *record, size_t size)
{
    uint64_t abi;
    size_t at = (size_t)(sample->raw - record) + sample->raw_size;
    at = (at + 7) / 8 * 8;
    if (at + sizeof(abi) > size)
        return 0;
    memcpy(&abi, record + at, sizeof(abi));
    return abi == 0 ? 0 : abi == REGS_ABI_32 ? 32 : 64;
}

static void take_sample(struct kp_pairs *pairs, const struct kp_call_types *types, int32_t cpu,
                        const uint8_t *record, size_t size)
{
    struct kp_sample sample;
    uint16_t type;
    if (kp_record_sample(record, size, KP_CALL_SAMPLE_TYPE, 0, &sample) != 0 ||
        sample.raw_size < raw_sizes.enter || sample.tid == types->left_out)
        return;
    memcpy(&type, sample.raw, sizeof(type));
    struct raw_call call = {0};
    struct raw_exec exec;
    if (type == types->enter) {
        memcpy(&call, sample.raw + COMMON, sizeof(call.number));
        kp_pairs_enter(pairs, sample.time, sample.pid, sample.tid, call.number);
    } else if (type == types->exit && sample.raw_size >= raw_sizes.exit) {
        memcpy(&call, sample.raw + COMMON, sizeof(call));
        kp_pairs_exit(pairs, sample.time, sample.pid, sample.tid, cpu, call.number, call.ret);
    } else if (type == types->exec && sample.raw_size >= raw_sizes.exec) {
        memcpy(&exec, sample.raw + COMMON, sizeof(exec));
        kp_pairs_exec(pairs, sample.pid, sample.tid, exec.old_pid, bits_of(&sample, record, size));
    }
}

static void take_side(struct kp_pairs *pairs, const uint8_t *record, size_t size)
{
    struct kp_side side;
    if (kp_record_side(record, size, &side) != 0)
        return;
    if (side.kind == KP_SIDE_FORK)
        kp_pairs_fork(pairs, side.pid, side.tid, side.ppid, side.ptid);
    else if (side.kind == KP_SIDE_EXIT)
        kp_pairs_end(pairs, side.tid);
    else if (side.kind == KP_SIDE_COMM || side.kind == KP_SIDE_EXEC)
        kp_pairs_comm(pairs, side.pid, side.tid, side.name, side.name_size);
}

uint64_t kp_call_record(struct kp_pairs *pairs, const struct kp_call_types *types, int32_t cpu,
                        const uint8_t *record, size_t size)
{
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    if (header.type == KP_RECORD_SAMPLE)
        take_sample(pairs, types, cpu, record, size);
    else if (header.type == KP_RECORD_LOST || header.type == KP_RECORD_LOST_SAMPLES)
        return kp_record_number_lost(record, size);
    else
        take_side(pairs, record, size);
    return 0;
}
