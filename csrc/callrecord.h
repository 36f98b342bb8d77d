/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_CALLRECORD_H
#define KPERF_CALLRECORD_H

#include "perf_abi.h"
#include "syscalls.h"

/* What a sample of a call holds: enough to pair it, and nothing more. The ring tells the CPU.
 * Behind an exec's sample stand registers. */
#define KP_CALL_SAMPLE_TYPE (KP_SAMPLE_TID | KP_SAMPLE_TIME | KP_SAMPLE_RAW)

/* Which tracepoint a sample is of, and whose samples are nobody's. */
struct kp_call_types {
    uint32_t enter; /* common_type of raw_syscalls:sys_enter, sys_exit, sched_process_exec */
    uint32_t exit;
    uint32_t exec;
    int32_t left_out; /* a thread of ours */
};

/* Tells the pairing what a record says. Returns how many records it says were lost. */
uint64_t kp_call_record(struct kp_pairs *pairs, const struct kp_call_types *types, int32_t cpu,
                        const uint8_t *record, size_t size);

#endif
