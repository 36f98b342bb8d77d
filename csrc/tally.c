/* SPDX-License-Identifier: Apache-2.0
 * Sums by key in a bounded hash table. */
#include "tally.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1 << 10 };

int kp_tally_create(struct kp_tally *tally, size_t key_size, size_t value_size, size_t most)
{
    *tally = (struct kp_tally){.key_size = key_size, .most = most, .n_slots = FIRST_SLOTS};
    tally->slots = calloc(tally->n_slots, sizeof(*tally->slots));
    if (tally->slots == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory to add samples up");
    int rc = kp_column_create(&tally->items, key_size + value_size, most);
    if (rc != 0)
        kp_tally_destroy(tally);
    return rc;
}

void kp_tally_destroy(struct kp_tally *tally)
{
    kp_column_destroy(&tally->items);
    free(tally->slots);
    memset(tally, 0, sizeof(*tally));
}

static size_t hash(const void *key, size_t size)
{
    const uint8_t *bytes = key;
    uint64_t mixed = 0, word;
    for (size_t i = 0; i < size; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        mixed = (mixed ^ word) * 0x9e3779b97f4a7c15u;
        mixed ^= mixed >> 29;
    }
    return (size_t)(mixed ^ mixed >> 32);
}

static uint32_t *slot_of(const struct kp_tally *tally, const void *key)
{
    size_t at = hash(key, tally->key_size) & (tally->n_slots - 1);
    for (; tally->slots[at] != 0; at = (at + 1) & (tally->n_slots - 1))
        if (memcmp(kp_tally_key(tally, tally->slots[at] - 1), key, tally->key_size) == 0)
            break;
    return &tally->slots[at];
}

static void fill_slots(struct kp_tally *tally)
{
    memset(tally->slots, 0, tally->n_slots * sizeof(*tally->slots));
    for (size_t i = 0; i < tally->n; i++)
        *slot_of(tally, kp_tally_key(tally, i)) = (uint32_t)i + 1;
}

static int grow(struct kp_tally *tally)
{
    if ((tally->n + 1) * 2 <= tally->n_slots)
        return 0;
    uint32_t *slots = calloc(tally->n_slots * 2, sizeof(*slots));
    if (slots == NULL)
        return -1;
    free(tally->slots);
    tally->slots = slots;
    tally->n_slots *= 2;
    fill_slots(tally);
    return 0;
}

void *kp_tally_at(struct kp_tally *tally, const void *key)
{
    uint32_t *slot = slot_of(tally, key);
    if (*slot != 0)
        return kp_tally_value(tally, *slot - 1);
    if (tally->n == tally->most || kp_column_grow(&tally->items, tally->n + 1) != 0 ||
        grow(tally) != 0)
        return NULL;
    memcpy(kp_tally_key(tally, tally->n), key, tally->key_size);
    memset(kp_tally_value(tally, tally->n), 0, tally->items.width - tally->key_size);
    *slot_of(tally, key) = (uint32_t)tally->n + 1;
    return kp_tally_value(tally, tally->n++);
}

void kp_tally_filter(struct kp_tally *tally, int (*keep)(const void *value))
{
    size_t kept = 0;
    for (size_t i = 0; i < tally->n; i++) {
        if (!keep(kp_tally_value(tally, i)))
            continue;
        memmove(kp_tally_key(tally, kept), kp_tally_key(tally, i), tally->items.width);
        kept++;
    }
    tally->n = kept;
    fill_slots(tally);
}

void kp_tally_clear(struct kp_tally *tally)
{
    tally->n = 0;
    memset(tally->slots, 0, tally->n_slots * sizeof(*tally->slots));
}
