/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as what two rings hold, all the way to calls and their summary. */
#include "callrecord.h"
#include "rounds.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, RING = 1 << 16, HEAD = 1024, TAIL = 1032, N_RINGS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kp_call_types types = {.enter = 1, .exit = 2, .exec = 3, .left_out = 99};

/* In a block of its own, where a byte too far is told. */
static void take(void *pairs, size_t ring, uint64_t time, const uint8_t *record, size_t size)
{
    uint8_t *copy = malloc(size);
    (void)time;
    if (copy == NULL)
        return;
    memcpy(copy, record, size);
    kp_pairs_lost(pairs, kp_call_record(pairs, &types, (int32_t)ring, copy, size));
    free(copy);
}

static void distrust(void *pairs)
{
    kp_pairs_distrust(pairs);
}

static void trust_from(void *pairs, uint64_t time)
{
    kp_pairs_trust_from(pairs, time);
}

static uint64_t now(void *pairs)
{
    (void)pairs;
    return UINT64_MAX;
}

/* A ring that holds some bytes around its edge. */
static uint8_t *filled(const uint8_t *data, size_t size)
{
    uint8_t *memory = calloc(1, PAGE + RING);
    uint64_t tail = RING / 2, head = tail + size / 8 * 8;
    if (memory == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++)
        memory[PAGE + ((tail + i) & (RING - 1))] = data[i];
    memcpy(memory + TAIL, &tail, sizeof(tail));
    memcpy(memory + HEAD, &head, sizeof(head));
    return memory;
}

static void read_all(struct kp_pairs *pairs)
{
    struct kp_call_summary *summary;
    struct kp_calls *calls;
    if (kp_pairs_read_summary(pairs, &summary) == 0) {
        for (size_t i = 0; i < summary->n_rows; i++)
            kp_call_percentile(summary, &summary->rows[i], 0.5);
        kp_call_summary_destroy(summary);
    }
    if (kp_pairs_read_calls(pairs, &calls) == 0)
        kp_calls_destroy(calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_pairs *pairs = NULL;
    struct kp_rounds *rounds = NULL;
    if (size < 1 || size > RING / 2)
        return 0;
    struct kp_call_options options = {.restart = 219,
                                      .sigreturn = 15,
                                      .key = data[0] % 3u,
                                      .with_list = 1,
                                      .list_bytes = 1 << 20};
    if (kp_pairs_create(&options, NULL, &pairs) != 0)
        return 0;
    const struct kp_rounds_taker taker = {take, distrust, trust_from, now, pairs};
    size_t half = size / 2;
    uint8_t *memory[N_RINGS] = {filled(data + 1, half), filled(data + half, size - half)};
    struct kp_ring rings[N_RINGS];
    for (int i = 0; i < N_RINGS; i++)
        rings[i] = (struct kp_ring){.base = memory[i], .size = RING, .page = PAGE, .fd = -1};
    kp_pairs_open(pairs, 0);
    if (kp_rounds_create(N_RINGS, &taker, &rounds) == 0) {
        kp_rounds_drain(rounds, rings);
        kp_pairs_until(pairs, UINT64_MAX - 1);
        kp_pairs_close(pairs);
        read_all(pairs);
    }
    kp_rounds_destroy(rounds);
    kp_pairs_destroy(pairs);
    for (int i = 0; i < N_RINGS; i++)
        free(memory[i]);
    return 0;
}
