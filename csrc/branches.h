/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_BRANCHES_H
#define KPERF_BRANCHES_H

#include "space.h"
#include "store.h"
#include "tally.h"

/* A taken branch of one event, in an address space as it was at some time. */
struct kp_branch_key {
    int64_t space;
    uint64_t epoch; /* the space's generation, and the event above it */
    uint64_t from;
    uint64_t to;
};

struct kp_branch_sum {
    uint64_t time; /* of a sample that has it: its addresses mean then what they meant */
    uint64_t taken;
    uint64_t mispredicted; /* of those the hardware says so */
    uint64_t predicted;    /* and of those it says the contrary */
    uint64_t cycles;       /* since the branch before, over all that tell them */
    uint64_t timed;        /* how many tell them */
};

/* Adds up the branches beside a store's samples; the caller destroys the sums. `dropped`: how many
 * found no room among them. */
int kp_branches_add_up(const struct kp_store *store, const struct kp_spaces *spaces,
                       struct kp_tally *out, uint64_t *dropped);

static inline uint32_t kp_branch_event(const struct kp_branch_key *key)
{
    return (uint32_t)(key->epoch >> 32);
}

#endif
