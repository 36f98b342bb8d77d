/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as what a ring holds, all the way to resolved and added up samples. The first 8 bytes
 * choose what was asked for; the identifiers 1 to 4 are those of the events. */
#include "intake.h"
#include "perf_abi.h"
#include "resolve.h"
#include "ring.h"

#include <stdlib.h>
#include <string.h>

enum { N_EVENTS = 4, STORE_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kp_event events[N_EVENTS] = {{.flags = KP_EVENT_TRACKING},
                                                 {.period = 1},
                                                 {.period = 99, .flags = KP_EVENT_FREQUENCY},
                                                 {.period = 1000}};

/* In a block of its own, where a byte too far is told. */
static void take(void *intake, const uint8_t *record, size_t size)
{
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return;
    memcpy(copy, record, size);
    kp_intake_take(intake, copy, size);
    free(copy);
}

static void walk(struct kp_intake *intake, const uint8_t *data, size_t size)
{
    size_t room = 4096;
    while (room < size)
        room *= 2;
    uint8_t *ring = calloc(1, room);
    if (ring == NULL)
        return;
    /* Around the edge. */
    size_t tail = room / 2;
    for (size_t i = 0; i < size; i++)
        ring[(tail + i) & (room - 1)] = data[i];
    kp_ring_walk(ring, room, tail, tail + size / 8 * 8, take, intake);
    free(ring);
}

static void count_all(const struct kp_samples *samples)
{
    struct kp_hot_row *rows;
    size_t n;
    if (kp_samples_hot(samples, 0x7f, &rows, &n) == 0)
        kp_hot_destroy(rows);
    uint64_t *counts = calloc(2 * samples->n_stacks + samples->n_frames, sizeof(*counts));
    if (counts != NULL)
        kp_samples_occurrences(samples, counts, counts + samples->n_stacks,
                               counts + 2 * samples->n_stacks);
    free(counts);
}

static void resolve(struct kp_intake *intake)
{
    struct kp_spaces *spaces;
    struct kp_samples *samples;
    if (kp_spaces_create(&spaces) != 0)
        return;
    if (kp_taken_finish(&intake->taken, N_EVENTS, spaces, &samples) == 0) {
        count_all(samples);
        kp_samples_destroy(samples);
    }
    kp_spaces_destroy(spaces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_intake intake;
    struct kp_sampling sampling = {.store_bytes = STORE_BYTES};
    if (size < 8)
        return 0;
    sampling.flags = data[0] & 7;
    sampling.branch_sample_type = data[1] & 1;
    if (kp_intake_create(&intake, events, N_EVENTS, &sampling) == 0) {
        for (uint32_t event = 0; event < N_EVENTS; event++)
            kp_intake_know(&intake, event + 1, event);
        walk(&intake, data + 8, size - 8);
        resolve(&intake);
    }
    kp_intake_destroy(&intake);
    return 0;
}
