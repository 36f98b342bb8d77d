/* SPDX-License-Identifier: Apache-2.0
 * Branch records (LBR, BRBE) added up by where they lead from and to. */
#include "branches.h"

#include <string.h>

enum { ENTRY = 24, MOST_BRANCHES = 1 << 22 };

/* struct perf_branch_entry: two addresses, and flags from the lowest bit on. */
enum { MISPREDICTED = 1, PREDICTED = 2, CYCLES_SHIFT = 4, CYCLES_MASK = 0xffff };

struct entry {
    uint64_t from;
    uint64_t to;
    uint64_t flags;
};

/* Whether there was room for it. */
static int add(struct kp_tally *sums, struct kp_branch_key *key, const struct entry *entry,
               uint64_t time)
{
    key->from = entry->from;
    key->to = entry->to;
    struct kp_branch_sum *sum = kp_tally_at(sums, key);
    if (sum == NULL)
        return 0;
    uint64_t cycles = entry->flags >> CYCLES_SHIFT & CYCLES_MASK;
    sum->time = time;
    sum->taken++;
    sum->mispredicted += (entry->flags & MISPREDICTED) != 0;
    sum->predicted += (entry->flags & PREDICTED) != 0;
    sum->cycles += cycles;
    sum->timed += cycles != 0;
    return 1;
}

/* How many of a sample's branches found no room. */
static uint64_t add_sample(const struct kp_store *store, const struct kp_spaces *spaces, size_t row,
                           struct kp_tally *sums)
{
    uint32_t size = ((const uint32_t *)store->extra_size.base)[row], generation;
    const uint8_t *bytes = store->extra.base + ((const uint64_t *)store->extra_at.base)[row];
    uint64_t time = ((const uint64_t *)store->time.base)[row];
    int32_t pid = ((const int32_t *)store->pid.base)[row];
    struct kp_branch_key key = {.space = kp_spaces_find(spaces, pid, time, &generation)};
    key.epoch = (uint64_t)((const uint32_t *)store->event.base)[row] << 32 | generation;
    uint64_t dropped = 0;
    for (uint32_t at = 0; at + ENTRY <= size; at += ENTRY) {
        struct entry entry;
        memcpy(&entry, bytes + at, sizeof(entry));
        dropped += !add(sums, &key, &entry, time);
    }
    return dropped;
}

int kp_branches_add_up(const struct kp_store *store, const struct kp_spaces *spaces,
                       struct kp_tally *out, uint64_t *dropped)
{
    int rc = kp_tally_create(out, sizeof(struct kp_branch_key), sizeof(struct kp_branch_sum),
                             MOST_BRANCHES);
    *dropped = 0;
    for (size_t row = 0; rc == 0 && row < store->len; row++)
        *dropped += add_sample(store, spaces, row, out);
    return rc;
}
