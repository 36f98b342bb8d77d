/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_STORE_H
#define KPERF_STORE_H

#include "record.h"
#include "stacks.h"

/* Samples as columns, in the order in which the rings gave them. */
struct kp_store {
    struct kp_column time, ip, addr, period; /* uint64_t */
    struct kp_column pid, tid, cpu;          /* int32_t */
    struct kp_column event, stack;           /* uint32_t; stack is a raw node of `stacks` */
    struct kp_column extra_at,
        extra_size;         /* uint64_t, uint32_t: raw bytes or branches in `extra` */
    struct kp_column extra; /* bytes */
    struct kp_stacks stacks;
    size_t len;
    size_t most;
    size_t extra_used;
    int has_addr;
    int has_extra;
    int has_branches; /* extra is branches, not raw bytes */
};

/* What a store may hold, in bytes of memory. */
int kp_store_create(struct kp_store *store, uint64_t limit, int has_addr, int has_extra);
void kp_store_destroy(struct kp_store *store);

/* 0; KP_E_NOMEM when the store is full: the sample is not taken, and nothing of it stays. */
int kp_store_add(struct kp_store *store, const struct kp_sample *sample, uint32_t event);

/* Puts the samples in order of time. */
int kp_store_sort(struct kp_store *store);

#endif
