/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_TALLY_H
#define KPERF_TALLY_H

#include "column.h"

/* Sums by key: a hash table of items, each a key (a multiple of 8 bytes, without gaps) and its
 * value behind it. */
struct kp_tally {
    struct kp_column items;
    uint32_t *slots; /* item + 1; 0 is free */
    size_t n_slots;  /* a power of two */
    size_t n, most;
    size_t key_size;
};

int kp_tally_create(struct kp_tally *tally, size_t key_size, size_t value_size, size_t most);
void kp_tally_destroy(struct kp_tally *tally);

/* The value of a key, zero at first. NULL where there is no room for another key. */
void *kp_tally_at(struct kp_tally *tally, const void *key);

static inline void *kp_tally_key(const struct kp_tally *tally, size_t item)
{
    return kp_column_at(&tally->items, item);
}

static inline void *kp_tally_value(const struct kp_tally *tally, size_t item)
{
    return (uint8_t *)kp_tally_key(tally, item) + tally->key_size;
}

/* Forgets every item that `keep` says no to. */
void kp_tally_filter(struct kp_tally *tally, int (*keep)(const void *value));
void kp_tally_clear(struct kp_tally *tally);

#endif
