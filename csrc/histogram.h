/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_HISTOGRAM_H
#define KPERF_HISTOGRAM_H

#include <stdint.h>

/* A log-linear histogram: each power of two is divided into as many buckets of equal width, and
 * each number below that has a bucket of its own. The middle of a bucket is off by less than 1
 * percent from everything in it. */
enum {
    KP_BUCKET_BITS = 6,
    KP_BUCKETS_AN_OCTAVE = 1 << KP_BUCKET_BITS,
    KP_OCTAVES = 64 - KP_BUCKET_BITS + 1,
    KP_BUCKETS = KP_OCTAVES * KP_BUCKETS_AN_OCTAVE
};

static inline uint32_t kp_bucket_of(uint64_t value)
{
    if (value < KP_BUCKETS_AN_OCTAVE)
        return (uint32_t)value;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - KP_BUCKET_BITS;
    return (shift << KP_BUCKET_BITS) + (uint32_t)(value >> shift);
}

/* Octaves are made when something first falls into them. */
struct kp_histogram {
    uint64_t *octaves[KP_OCTAVES];
};

/* Returns -1 where there is no memory for the octave. */
int kp_histogram_add(struct kp_histogram *histogram, uint64_t value);
void kp_histogram_free(struct kp_histogram *histogram);

#endif
