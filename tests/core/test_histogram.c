/* SPDX-License-Identifier: Apache-2.0
 * The histogram of times: buckets without gaps, percentiles within 1 percent. */
#include "check.h"
#include "histogram.h"

TEST(histogram_buckets_meet_and_are_narrow)
{
    uint64_t from, to, end = 0;
    for (uint32_t bucket = 0; bucket < KP_BUCKETS; bucket++) {
        kp_bucket_range(bucket, &from, &to);
        CHECK(from == end && to > from);
        CHECK((to - from - 1) * 64 <= from);
        CHECK_EQ(kp_bucket_of(from), bucket);
        CHECK_EQ(kp_bucket_of(to - 1), bucket);
        end = to;
    }
    CHECK(end == UINT64_MAX);
    CHECK_EQ(kp_bucket_of(UINT64_MAX), KP_BUCKETS - 1);
    kp_bucket_range(UINT32_MAX, &from, &to);
    CHECK(from == UINT64_MAX && to == UINT64_MAX);
}

TEST(histogram_counts_what_falls_into_it)
{
    struct kp_histogram histogram = {{NULL}};
    for (uint64_t value = 1; value != 0; value *= 2) {
        CHECK_EQ(kp_histogram_add(&histogram, value), 0);
        uint32_t bucket = kp_bucket_of(value);
        CHECK_EQ(histogram.octaves[bucket / 64][bucket % 64], 1);
    }
    kp_histogram_free(&histogram);
    CHECK(histogram.octaves[0] == NULL);
}

static uint64_t percentile(struct kp_call_bucket *buckets, uint32_t n, uint64_t max, double share)
{
    struct kp_call_summary summary = {.buckets = buckets, .n_buckets = n};
    struct kp_call_row row = {.n_buckets = n, .max_ns = max};
    return kp_call_percentile(&summary, &row, share);
}

TEST(histogram_percentiles_are_within_one_percent)
{
    enum { N = 20000, STEP = 53 };
    static struct kp_call_bucket buckets[KP_BUCKETS];
    uint32_t n = 0;
    for (uint64_t i = 1; i <= N; i++) {
        uint32_t bucket = kp_bucket_of(i * STEP);
        if (n == 0 || buckets[n - 1].bucket != bucket)
            buckets[n++].bucket = bucket;
        buckets[n - 1].count++;
    }
    for (int percent = 1; percent <= 100; percent++) {
        double exact = (double)(N / 100 * percent) * STEP;
        double found = (double)percentile(buckets, n, N * STEP, percent / 100.0);
        CHECK(found > exact * 0.99 && found < exact * 1.01);
    }
    CHECK_EQ(percentile(buckets, n, N * STEP, 0), STEP);
    CHECK(percentile(buckets, n, N * STEP, 1) <= N * STEP);
}

TEST(histogram_percentiles_of_few_are_theirs)
{
    struct kp_call_bucket two[] = {{1, kp_bucket_of(10), 0}, {1, kp_bucket_of(50), 0}};
    CHECK_EQ(percentile(two, 2, 50, 0.5), 10);
    CHECK_EQ(percentile(two, 2, 50, 0.95), 50);
    CHECK_EQ(percentile(two, 2, 50, 2), 50);
    CHECK_EQ(percentile(two, 0, 0, 0.5), 0);
}
