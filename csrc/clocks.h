/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_CLOCKS_H
#define KPERF_CLOCKS_H

#include "kperf_core.h"

enum { KP_MOST_PAIRS = 512 };

/* The perf clock beside CLOCK_MONOTONIC, looked at now and then: they drift apart. */
struct kp_clocks {
    struct kp_spe_clock timer; /* from the hardware's counter to the perf clock */
    struct {
        uint64_t perf;
        uint64_t monotonic;
    } pairs[KP_MOST_PAIRS];
    size_t n;
};

/* Learns from a ring's control page how the counter becomes perf time. */
void kp_clocks_learn(struct kp_clocks *clocks, const uint8_t *control);

/* Notes both clocks, unless that was done a moment ago. */
void kp_clocks_look(struct kp_clocks *clocks);

/* The perf clock; 0 where it cannot be told. */
uint64_t kp_clocks_now(const struct kp_clocks *clocks);

/* From the perf clock to CLOCK_MONOTONIC. Without a pair: as it is. */
uint64_t kp_clocks_to_monotonic(const struct kp_clocks *clocks, uint64_t perf);

#endif
