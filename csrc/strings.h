/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_STRINGS_H
#define KPERF_STRINGS_H

#include "column.h"

/* Interned strings: a number a different text. Number 0 is the empty text. */
struct kp_strings {
    struct kp_column bytes;  /* the texts one behind the other, each ended by NUL */
    struct kp_column offset; /* uint64_t: where a number's text begins */
    uint32_t *slots;
    size_t n_slots, used;
    uint32_t n;
};

int kp_strings_create(struct kp_strings *strings, size_t most_bytes);
void kp_strings_destroy(struct kp_strings *strings);

/* The number of a text of `size` bytes, which needs no NUL behind it. */
int kp_strings_add(struct kp_strings *strings, const char *text, size_t size, uint32_t *out);

static inline const char *kp_strings_text(const struct kp_strings *strings, uint32_t number)
{
    return (const char *)strings->bytes.base + ((const uint64_t *)strings->offset.base)[number];
}

#endif
