/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_CALLSINK_H
#define KPERF_CALLSINK_H

#include "column.h"
#include "histogram.h"
#include "kperf_core.h"
#include "strings.h"

/* A call as the pairing has it. */
struct kp_call {
    uint64_t start;
    uint64_t elapsed;
    int64_t ret;
    uint32_t number;
    uint8_t bits;
    int32_t pid;
    int32_t tid;
    int32_t cpu;
    const char *comm; /* 16 bytes */
};

struct kp_sink_row {
    uint64_t key; /* which call, and whose */
    struct kp_call_row row;
    struct kp_histogram histogram;
};

/* Rows by key, found by hashing; nothing is removed but everything at once. */
struct kp_sink_rows {
    struct kp_sink_row *items;
    size_t len, room;
    uint32_t *slots; /* row + 1 */
    size_t n_slots;
};

/* The list, one column a field. */
struct kp_sink_list {
    struct kp_column start, elapsed, ret, pid, tid, comm, which, cpu;
    struct kp_strings strings;
    size_t len, most;
};

struct kp_call_sink {
    uint32_t key; /* kp_call_key */
    int with_list;
    uint64_t list_bytes;
    struct kp_call_number *numbers; /* the calls met so far */
    size_t n_numbers, numbers_room;
    uint16_t met[1024]; /* by the number's last bits: the index + 1 of the call met last */
    struct kp_sink_rows rows;
    struct kp_sink_list list;
    struct kp_call_loss loss;
};

int kp_sink_create(struct kp_call_sink *sink, const struct kp_call_options *options);
void kp_sink_destroy(struct kp_call_sink *sink);

void kp_sink_finished(struct kp_call_sink *sink, const struct kp_call *call);
void kp_sink_unfinished(struct kp_call_sink *sink, const struct kp_call *call);
void kp_sink_begun_before(struct kp_call_sink *sink, const struct kp_call *call);

/* What came since the last read, copied (with what is under way) or handed over. */
int kp_sink_summary(struct kp_call_sink *sink, struct kp_call_summary **out);
int kp_sink_calls(struct kp_call_sink *sink, struct kp_calls **out);
void kp_sink_forget_rows(struct kp_call_sink *sink);

#endif
