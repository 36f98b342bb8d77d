/* SPDX-License-Identifier: Apache-2.0
 * Log-linear histograms of times, and percentiles from them. */
#include "histogram.h"

#include "kperf_core.h"

#include <stdlib.h>
#include <string.h>

void kp_bucket_range(uint32_t bucket, uint64_t *from, uint64_t *to)
{
    uint32_t octave = bucket / KP_BUCKETS_AN_OCTAVE, at = bucket % KP_BUCKETS_AN_OCTAVE;
    *from = *to = UINT64_MAX;
    if (octave == 0) {
        *from = at;
        *to = at + 1;
    } else if (octave < KP_OCTAVES) {
        uint64_t width = (uint64_t)1 << (octave - 1);
        *from = (KP_BUCKETS_AN_OCTAVE + (uint64_t)at) * width;
        *to = bucket == KP_BUCKETS - 1 ? UINT64_MAX : *from + width;
    }
}

int kp_histogram_add(struct kp_histogram *histogram, uint64_t value)
{
    uint32_t bucket = kp_bucket_of(value);
    uint64_t **octave = &histogram->octaves[bucket / KP_BUCKETS_AN_OCTAVE];
    if (*octave == NULL && (*octave = calloc(KP_BUCKETS_AN_OCTAVE, sizeof(**octave))) == NULL)
        return -1;
    (*octave)[bucket % KP_BUCKETS_AN_OCTAVE]++;
    return 0;
}

void kp_histogram_free(struct kp_histogram *histogram)
{
    for (int i = 0; i < KP_OCTAVES; i++)
        free(histogram->octaves[i]);
    memset(histogram, 0, sizeof(*histogram));
}

/* Which of n items in rising order ends that share of them, counted from 1. */
static uint64_t rank_of(double share, uint64_t n)
{
    double exact = share * (double)n;
    uint64_t rank = exact <= 1 ? 1 : (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    return rank < n ? rank : n;
}

uint64_t kp_call_percentile(const struct kp_call_summary *summary, const struct kp_call_row *row,
                            double share)
{
    const struct kp_call_bucket *bucket = summary->buckets + row->first_bucket;
    uint64_t total = 0, passed = 0, from, to;
    for (uint32_t i = 0; i < row->n_buckets; i++)
        total += bucket[i].count;
    if (total == 0)
        return 0;
    uint64_t rank = rank_of(share, total);
    for (passed = bucket->count; passed < rank; passed += bucket->count)
        bucket++;
    kp_bucket_range(bucket->bucket, &from, &to);
    uint64_t middle = from + (to - from) / 2;
    return middle < row->max_ns ? middle : row->max_ns;
}

void kp_call_summary_destroy(struct kp_call_summary *summary)
{
    if (summary == NULL)
        return;
    free(summary->rows);
    free(summary->buckets);
    free(summary);
}
