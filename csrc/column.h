/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_COLUMN_H
#define KPERF_COLUMN_H

#include <stddef.h>
#include <stdint.h>

/* An array that grows in place: its whole range is reserved at the start and made usable piece by
 * piece, so nothing in it ever moves. */
struct kp_column {
    uint8_t *base;
    size_t width;    /* bytes an item */
    size_t usable;   /* bytes that may be touched */
    size_t reserved; /* bytes of address space */
};

int kp_column_create(struct kp_column *column, size_t width, size_t most_items);
void kp_column_destroy(struct kp_column *column);

/* Makes room for `items` items; KP_E_NOMEM beyond the reservation or the machine's memory. */
int kp_column_grow(struct kp_column *column, size_t items);

static inline void *kp_column_at(const struct kp_column *column, size_t item)
{
    return column->base + item * column->width;
}

#endif
