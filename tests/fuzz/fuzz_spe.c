/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as an SPE stream, whole and in chunks: both must give the same records, and the packets
 * must cover the stream. The first byte chooses where the chunks end. */
#include "spe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t records;
    uint64_t sum; /* of all that they say */
};

static void see(void *context, const struct kp_spe_record *record)
{
    struct seen *seen = context;
    uint8_t bytes[sizeof(*record)];
    memcpy(bytes, record, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        seen->sum = (seen->sum ^ bytes[i]) * 0x100000001b3u;
    seen->records++;
}

/* Each chunk lies on the heap in its exact size, where a byte too far is noticed. */
static void feed(struct kp_spe_decoder *decoder, uint64_t offset, const uint8_t *bytes, size_t n,
                 struct seen *seen)
{
    uint8_t *copy = malloc(n + 1);
    if (copy == NULL)
        exit(2);
    memcpy(copy + 1, bytes, n);
    kp_spe_feed(decoder, offset, copy + 1, n, see, seen);
    free(copy);
}

static struct seen decode(const uint8_t *bytes, size_t size, size_t chunk,
                          struct kp_spe_stats *stats)
{
    struct kp_spe_decoder decoder = {0};
    struct seen seen = {0};
    for (size_t at = 0; at < size; at += chunk)
        feed(&decoder, at, bytes + at, chunk < size - at ? chunk : size - at, &seen);
    kp_spe_finish(&decoder);
    *stats = decoder.stats;
    return seen;
}

static void cover(const uint8_t *bytes, size_t size)
{
    struct kp_spe_packet packets[7];
    size_t at = 0, n;
    while (at < size) {
        size_t used = kp_spe_packets(bytes + at, size - at, at, packets, 7, &n);
        size_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            if (packets[i].at != at + sum || packets[i].size == 0)
                abort();
            sum += packets[i].size;
        }
        if (n == 0 || used != sum)
            abort();
        at += used;
    }
    if (at != size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_spe_stats whole_stats, stats;
    if (size < 2)
        return 0;
    size_t chunk = 1 + data[0] % 40;
    data++;
    size--;
    struct seen whole = decode(data, size, size, &whole_stats);
    struct seen cut = decode(data, size, chunk, &stats);
    if (whole.records != cut.records || whole.sum != cut.sum ||
        memcmp(&whole_stats, &stats, sizeof(stats)) != 0)
        abort();
    cover(data, size);
    return 0;
}
