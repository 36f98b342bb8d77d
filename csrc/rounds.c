/* SPDX-License-Identifier: Apache-2.0
 * Many rings read as one stream, in rounds. Each begins with a look at the clock, then at every
 * ring's end, and takes what is older than that look. What a record follows from (an earlier one of
 * its thread on another CPU, the birth of its thread) was in its ring before the record got its
 * time, so before the look: nothing is ever taken before what it follows from. What is written late
 * by a CPU that was held up has no followers yet, and is taken in the next round.
 *
 * A ring lost nothing for certain as long as the kernel found room for a record of the greatest
 * size in it. From where it may not have, until there is room again, the taker is told to trust
 * nothing.
 */
#include "rounds.h"

#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    GREATEST_RECORD = 8192, /* an exec's, with a path of 4096 bytes */
    SAMPLE_TIME = 16,       /* behind the header, pid and tid */
    FORK_TIME = 24,
    TRAILER_TIME_FROM_END = 24 /* TIME, CPU and IDENTIFIER end a record of the tracking event */
};

/* How far a ring was read in this round. */
struct reader {
    struct kp_ring *ring;
    uint64_t tail; /* at the beginning of the round */
    uint64_t at;
    uint64_t head;
    uint64_t time; /* of the record at `at` */
    uint16_t size;
    int full; /* there may have been no room behind the record that ends beyond `roomy` */
};

struct kp_rounds {
    struct kp_rounds_taker taker;
    struct reader *readers;
    size_t *heap; /* of readers with a record to give, the oldest first */
    size_t n_heap, n_rings;
    int distrusted; /* in this round */
};

/* ---- one ring ---- */

static void copy_out(const struct reader *reader, uint64_t at, void *out, size_t size)
{
    const uint8_t *data = reader->ring->base + reader->ring->page;
    uint64_t from = at & (reader->ring->size - 1), first = reader->ring->size - from;
    if (first > size)
        first = size;
    memcpy(out, data + from, first);
    memcpy((uint8_t *)out + first, data, size - first);
}

static uint64_t word_at(const struct reader *reader, uint64_t offset)
{
    uint64_t word;
    copy_out(reader, reader->at + offset, &word, sizeof(word));
    return word;
}

/* Records of loss tell of their past: they come at once. */
static uint64_t time_of(const struct reader *reader, const struct kp_record_header *header)
{
    switch (header->type) {
    case KP_RECORD_SAMPLE:
        return header->size >= SAMPLE_TIME + 8 ? word_at(reader, SAMPLE_TIME) : 0;
    case KP_RECORD_FORK:
    case KP_RECORD_EXIT:
        return header->size >= FORK_TIME + 8 ? word_at(reader, FORK_TIME) : 0;
    case KP_RECORD_COMM:
        return header->size >= 8 + TRAILER_TIME_FROM_END
                   ? word_at(reader, header->size - TRAILER_TIME_FROM_END)
                   : 0;
    default:
        return 0;
    }
}

/* Looks at the next record. Returns 0 where there is none. */
static int look(struct kp_rounds *rounds, struct reader *reader)
{
    struct kp_record_header header;
    if (reader->head - reader->at < sizeof(header))
        return 0;
    copy_out(reader, reader->at, &header, sizeof(header));
    if (header.size < sizeof(header) || header.size % 8 != 0 ||
        header.size > reader->head - reader->at) {
        reader->at = reader->head; /* not a record: nothing behind it can be told apart */
        reader->full = rounds->distrusted = 1;
        rounds->taker.distrust(rounds->taker.context);
        return 0;
    }
    reader->size = header.size;
    reader->time = time_of(reader, &header);
    return 1;
}

static int is_beyond_room(const struct reader *reader, uint64_t end)
{
    return end - reader->tail + GREATEST_RECORD > reader->ring->size;
}

static int begin(struct kp_rounds *rounds, struct reader *reader, struct kp_ring *ring)
{
    uint64_t head = kp_ring_head(ring), tail = kp_ring_tail(ring);
    *reader = (struct reader){.ring = ring, .tail = tail, .at = tail, .head = head};
    if (head - tail > ring->size || head % 8 != 0)
        reader->at = head; /* nothing that a kernel would say */
    reader->full = is_beyond_room(reader, head);
    return look(rounds, reader);
}

static void hand_over(struct kp_rounds *rounds, struct reader *reader)
{
    const struct kp_rounds_taker *taker = &rounds->taker;
    uint8_t whole[UINT16_MAX];
    const struct kp_ring *ring = reader->ring;
    uint64_t from = reader->at & (ring->size - 1);
    const uint8_t *record = ring->base + ring->page + from;
    if (from + reader->size > ring->size) {
        copy_out(reader, reader->at, whole, reader->size);
        record = whole;
    }
    taker->take(taker->context, (size_t)(reader - rounds->readers), reader->time, record,
                reader->size);
    reader->at += reader->size;
    if (reader->full && !rounds->distrusted && is_beyond_room(reader, reader->at)) {
        rounds->distrusted = 1;
        taker->distrust(taker->context);
    }
}

/* Frees the room of what was taken. Returns 1 where records may have been lost until now. */
static int end(struct reader *reader)
{
    kp_ring_free_to(reader->ring, reader->at);
    /* The kernel's end is looked at after the room was freed, not before. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return reader->full || is_beyond_room(reader, kp_ring_head(reader->ring));
}

/* ---- the heap ---- */

static int is_older(const struct kp_rounds *rounds, size_t a, size_t b)
{
    return rounds->readers[rounds->heap[a]].time < rounds->readers[rounds->heap[b]].time;
}

static void swap(struct kp_rounds *rounds, size_t a, size_t b)
{
    size_t reader = rounds->heap[a];
    rounds->heap[a] = rounds->heap[b];
    rounds->heap[b] = reader;
}

static void sift_down(struct kp_rounds *rounds, size_t at)
{
    for (;;) {
        size_t oldest = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < rounds->n_heap; child++)
            if (is_older(rounds, child, oldest))
                oldest = child;
        if (oldest == at)
            return;
        swap(rounds, at, oldest);
        at = oldest;
    }
}

static void drop_first(struct kp_rounds *rounds)
{
    rounds->heap[0] = rounds->heap[--rounds->n_heap];
    sift_down(rounds, 0);
}

/* ---- a round ---- */

static void take_older_than(struct kp_rounds *rounds, uint64_t now)
{
    while (rounds->n_heap > 0) {
        struct reader *reader = &rounds->readers[rounds->heap[0]];
        if (reader->time >= now)
            return;
        hand_over(rounds, reader);
        if (look(rounds, reader))
            sift_down(rounds, 0);
        else
            drop_first(rounds);
    }
}

void kp_rounds_drain(struct kp_rounds *rounds, struct kp_ring *rings)
{
    const struct kp_rounds_taker *taker = &rounds->taker;
    uint64_t now = taker->now(taker->context);
    rounds->n_heap = 0;
    rounds->distrusted = 0;
    for (size_t i = 0; i < rounds->n_rings; i++) {
        rounds->readers[i].ring = NULL;
        if (rings[i].base != NULL && begin(rounds, &rounds->readers[i], &rings[i]))
            rounds->heap[rounds->n_heap++] = i;
    }
    for (size_t i = rounds->n_heap / 2; i-- > 0;)
        sift_down(rounds, i);
    take_older_than(rounds, now);
    int lossy = 0;
    for (size_t i = 0; i < rounds->n_rings; i++)
        if (rounds->readers[i].ring != NULL)
            lossy |= end(&rounds->readers[i]);
    if (!lossy)
        return;
    if (!rounds->distrusted)
        taker->distrust(taker->context);
    taker->trust_from(taker->context, taker->now(taker->context));
}

/* ---- creation ---- */

int kp_rounds_create(size_t n_rings, const struct kp_rounds_taker *taker, struct kp_rounds **out)
{
    struct kp_rounds *rounds = calloc(1, sizeof(*rounds));
    if (rounds != NULL) {
        rounds->taker = *taker;
        rounds->n_rings = n_rings;
        rounds->readers = calloc(n_rings, sizeof(*rounds->readers));
        rounds->heap = calloc(n_rings, sizeof(*rounds->heap));
    }
    if (rounds == NULL || rounds->readers == NULL || rounds->heap == NULL) {
        kp_rounds_destroy(rounds);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu rings", n_rings);
    }
    *out = rounds;
    return 0;
}

void kp_rounds_destroy(struct kp_rounds *rounds)
{
    if (rounds == NULL)
        return;
    free(rounds->readers);
    free(rounds->heap);
    free(rounds);
}
