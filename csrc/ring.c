/* SPDX-License-Identifier: Apache-2.0
 * The mmap ring that the kernel writes and we read: mapping, memory ordering, records over the
 * edge. */
#include "ring.h"

#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define IOC_SET_OUTPUT 0x2405UL

/* Where the kernel keeps its end and we ours (struct perf_event_mmap_page, ABI since 2.6.35). */
enum { DATA_HEAD = 1024, DATA_TAIL = 1032 };

size_t kp_ring_size(size_t bytes)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    while (size < bytes)
        size *= 2;
    return size;
}

int kp_ring_create(int fd, size_t bytes, struct kp_ring *ring)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int rc;
    /* The locked memory that perf may use is limited: a smaller ring beats none. */
    for (size_t size = kp_ring_size(bytes);
         (rc = kp_ring_create_whole(fd, size, ring)) == KP_E_MMAP && size > page;)
        size /= 2;
    return rc;
}

int kp_ring_create_whole(int fd, size_t bytes, struct kp_ring *ring)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = kp_ring_size(bytes);
    void *base = mmap(NULL, page + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return kp_fail(errno == EPERM || errno == ENOMEM ? KP_E_MMAP : KP_E_SYSTEM, errno,
                       "cannot map a ring buffer of %zu bytes", size);
    *ring = (struct kp_ring){.base = base, .size = size, .page = page, .fd = fd};
    return 0;
}

void kp_ring_destroy(struct kp_ring *ring)
{
    if (ring->base == NULL)
        return;
    munmap(ring->base, ring->page + ring->size);
    close(ring->fd);
    memset(ring, 0, sizeof(*ring));
}

int kp_ring_join(const struct kp_ring *ring, int fd)
{
    if (ioctl(fd, IOC_SET_OUTPUT, ring->fd) != 0)
        return kp_fail(KP_E_SYSTEM, errno, "cannot share a ring buffer");
    return 0;
}

uint64_t kp_ring_walk(const uint8_t *data, uint64_t size, uint64_t tail, uint64_t head,
                      kp_record_fn *take, void *context)
{
    uint8_t whole[UINT16_MAX];
    /* Records are multiples of 8 bytes, so no header lies across the edge. */
    if (head - tail > size || head % 8 != 0 || tail % 8 != 0)
        return head;
    while (head - tail >= sizeof(struct kp_record_header)) {
        struct kp_record_header header;
        uint64_t at = tail & (size - 1);
        memcpy(&header, data + at, sizeof(header));
        if (header.size < sizeof(header) || header.size % 8 != 0 || header.size > head - tail)
            return head; /* not a record: nothing behind it can be told apart */
        if (at + header.size <= size) {
            take(context, data + at, header.size);
        } else {
            uint64_t first = size - at;
            memcpy(whole, data + at, first);
            memcpy(whole + first, data, header.size - first);
            take(context, whole, header.size);
        }
        tail += header.size;
    }
    return tail;
}

uint64_t kp_ring_head(const struct kp_ring *ring)
{
    return __atomic_load_n((uint64_t *)(ring->base + DATA_HEAD), __ATOMIC_ACQUIRE);
}

uint64_t kp_ring_tail(const struct kp_ring *ring)
{
    return *(uint64_t *)(ring->base + DATA_TAIL);
}

void kp_ring_free_to(struct kp_ring *ring, uint64_t tail)
{
    __atomic_store_n((uint64_t *)(ring->base + DATA_TAIL), tail, __ATOMIC_RELEASE);
}

void kp_ring_drain(struct kp_ring *ring, kp_record_fn *take, void *context)
{
    if (ring->base == NULL)
        return;
    uint64_t head = kp_ring_head(ring);
    kp_ring_free_to(ring, kp_ring_walk(ring->base + ring->page, ring->size, kp_ring_tail(ring),
                                       head, take, context));
}
