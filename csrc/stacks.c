/* SPDX-License-Identifier: Apache-2.0
 * Interned call stacks. */
#include "stacks.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1 << 12 };

int kp_stacks_create(struct kp_stacks *stacks, size_t most_nodes)
{
    memset(stacks, 0, sizeof(*stacks));
    int rc = kp_column_create(&stacks->address, sizeof(uint64_t), most_nodes);
    if (rc == 0)
        rc = kp_column_create(&stacks->parent, sizeof(uint32_t), most_nodes);
    if (rc == 0)
        rc = kp_column_grow(&stacks->address, 1);
    if (rc == 0)
        rc = kp_column_grow(&stacks->parent, 1);
    stacks->slots = calloc(FIRST_SLOTS, sizeof(*stacks->slots));
    if (rc == 0 && stacks->slots == NULL)
        rc = kp_fail(KP_E_NOMEM, ENOMEM, "no memory for call stacks");
    stacks->n_slots = FIRST_SLOTS;
    stacks->n = 1;
    if (rc != 0)
        kp_stacks_destroy(stacks);
    return rc;
}

void kp_stacks_destroy(struct kp_stacks *stacks)
{
    kp_column_destroy(&stacks->address);
    kp_column_destroy(&stacks->parent);
    free(stacks->slots);
    memset(stacks, 0, sizeof(*stacks));
}

static size_t hash(uint32_t parent, uint64_t address)
{
    uint64_t mixed = (address ^ (uint64_t)parent << 32 ^ parent) * 0x9e3779b97f4a7c15u;
    return (size_t)(mixed ^ mixed >> 29);
}

static uint32_t *find_slot(const struct kp_stacks *stacks, uint32_t *slots, size_t n_slots,
                           uint32_t parent, uint64_t address)
{
    size_t at = hash(parent, address) & (n_slots - 1);
    while (slots[at] != 0 && (kp_stacks_address(stacks, slots[at]) != address ||
                              kp_stacks_parent(stacks, slots[at]) != parent))
        at = (at + 1) & (n_slots - 1);
    return &slots[at];
}

static int grow_slots(struct kp_stacks *stacks)
{
    size_t n_slots = stacks->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for call stacks");
    for (uint32_t node = 1; node < stacks->n; node++)
        *find_slot(stacks, slots, n_slots, kp_stacks_parent(stacks, node),
                   kp_stacks_address(stacks, node)) = node;
    free(stacks->slots);
    stacks->slots = slots;
    stacks->n_slots = n_slots;
    return 0;
}

int kp_stacks_add(struct kp_stacks *stacks, uint32_t parent, uint64_t address, uint32_t *out)
{
    uint32_t *slot = find_slot(stacks, stacks->slots, stacks->n_slots, parent, address);
    if (*slot != 0) {
        *out = *slot;
        return 0;
    }
    uint32_t node = stacks->n;
    int rc = node == UINT32_MAX ? kp_fail(KP_E_NOMEM, ENOMEM, "too many call stacks") : 0;
    if (rc == 0)
        rc = kp_column_grow(&stacks->address, (size_t)node + 1);
    if (rc == 0)
        rc = kp_column_grow(&stacks->parent, (size_t)node + 1);
    if (rc != 0)
        return rc;
    ((uint64_t *)stacks->address.base)[node] = address;
    ((uint32_t *)stacks->parent.base)[node] = parent;
    *slot = node;
    stacks->n++;
    *out = node;
    return (size_t)stacks->n * 2 > stacks->n_slots ? grow_slots(stacks) : 0;
}

int kp_stacks_add_chain(struct kp_stacks *stacks, const uint64_t *chain, size_t n, uint32_t *out)
{
    uint32_t node = 0;
    int rc = 0;
    for (size_t i = n; rc == 0 && i-- > 0;)
        rc = kp_stacks_add(stacks, node, chain[i], &node);
    *out = node;
    return rc;
}
