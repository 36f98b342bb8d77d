/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_STACKS_H
#define KPERF_STACKS_H

#include "column.h"

/* Call stacks as a tree: a node is an address and the node of its caller, so stacks that share
 * their outer part share its nodes. Node 0 is the empty stack. Equal pairs have one node. */
struct kp_stacks {
    struct kp_column address; /* uint64_t */
    struct kp_column parent;  /* uint32_t */
    uint32_t *slots;          /* hash table of nodes; 0 is free */
    size_t n_slots;           /* a power of two */
    uint32_t n;               /* nodes, the empty one included */
};

int kp_stacks_create(struct kp_stacks *stacks, size_t most_nodes);
void kp_stacks_destroy(struct kp_stacks *stacks);

/* The node for an address called from `parent`. */
int kp_stacks_add(struct kp_stacks *stacks, uint32_t parent, uint64_t address, uint32_t *out);

/* The node for a whole chain, innermost address first. */
int kp_stacks_add_chain(struct kp_stacks *stacks, const uint64_t *chain, size_t n, uint32_t *out);

static inline uint64_t kp_stacks_address(const struct kp_stacks *stacks, uint32_t node)
{
    return ((const uint64_t *)stacks->address.base)[node];
}

static inline uint32_t kp_stacks_parent(const struct kp_stacks *stacks, uint32_t node)
{
    return ((const uint32_t *)stacks->parent.base)[node];
}

#endif
