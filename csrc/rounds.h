/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_ROUNDS_H
#define KPERF_ROUNDS_H

#include "ring.h"

/* Who takes the records of many rings as one stream. */
struct kp_rounds_taker {
    /* Whatever follows from something else comes behind it. `ring` is the ring's number. */
    void (*take)(void *context, size_t ring, uint64_t time, const uint8_t *record, size_t size);
    /* Records may be missing behind this one, until a time that is told at the end of the round. */
    void (*distrust)(void *context);
    void (*trust_from)(void *context, uint64_t time);
    uint64_t (*now)(void *context); /* the clock of the records */
    void *context;
};

struct kp_rounds;

int kp_rounds_create(size_t n_rings, const struct kp_rounds_taker *taker, struct kp_rounds **out);
void kp_rounds_destroy(struct kp_rounds *rounds);

/* Takes what the rings hold, in order of time. Rings without memory are passed over. */
void kp_rounds_drain(struct kp_rounds *rounds, struct kp_ring *rings);

#endif
