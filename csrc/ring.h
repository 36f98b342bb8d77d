/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_RING_H
#define KPERF_RING_H

#include <stddef.h>
#include <stdint.h>

/* A perf ring buffer: a page of control words, then a power of two of data bytes. */
struct kp_ring {
    uint8_t *base; /* NULL: none */
    uint64_t size; /* of the data */
    size_t page;
    int fd; /* the event whose ring it is */
};

typedef void kp_record_fn(void *context, const uint8_t *record, size_t size);

/* The size that a ring of at least `bytes` of data has. */
size_t kp_ring_size(size_t bytes);

/* Maps fd's ring, at least `bytes` of data, or less where the system allows no more; owns fd from
 * then on. */
int kp_ring_create(int fd, size_t bytes, struct kp_ring *ring);

/* The same, or KP_E_MMAP where there is no room for all of it. */
int kp_ring_create_whole(int fd, size_t bytes, struct kp_ring *ring);
void kp_ring_destroy(struct kp_ring *ring);

/* Sends another event's records into this ring. */
int kp_ring_join(const struct kp_ring *ring, int fd);

/* Hands every waiting record over, whole and checked for its size, and frees its room. */
void kp_ring_drain(struct kp_ring *ring, kp_record_fn *take, void *context);

/* Where the kernel's end is, whose records may be read then, and ours, which frees their room. */
uint64_t kp_ring_head(const struct kp_ring *ring);
uint64_t kp_ring_tail(const struct kp_ring *ring);
void kp_ring_free_to(struct kp_ring *ring, uint64_t tail);

/* Hands the records of [tail, head) in a ring's data over, whatever it holds; returns where it
 * stopped. */
uint64_t kp_ring_walk(const uint8_t *data, uint64_t size, uint64_t tail, uint64_t head,
                      kp_record_fn *take, void *context);

#endif
