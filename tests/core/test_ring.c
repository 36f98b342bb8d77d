/* SPDX-License-Identifier: Apache-2.0
 * Walking a ring's records: those over the edge come whole, and whatever else the ring holds,
 * nothing outside of it is read. The rings lie between pages that may not be touched. */
#include "check.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    uint8_t *base, *data;
    size_t size, page;
};

static struct guarded make_ring(size_t pages)
{
    struct guarded ring = {.page = (size_t)sysconf(_SC_PAGESIZE)};
    ring.size = pages * ring.page;
    ring.base =
        mmap(NULL, ring.size + 2 * ring.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(ring.base != MAP_FAILED);
    ring.data = ring.base + ring.page;
    CHECK_EQ(mprotect(ring.data, ring.size, PROT_READ | PROT_WRITE), 0);
    return ring;
}

static void free_ring(const struct guarded *ring)
{
    munmap(ring->base, ring->size + 2 * ring->page);
}

static uint64_t random_word(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- what arrives ---- */

struct taken {
    uint64_t n, bytes, sum;
    uint8_t last[64];
};

static void take(void *context, const uint8_t *record, size_t size)
{
    struct taken *taken = context;
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    CHECK_EQ(header.size, size);
    CHECK(size >= sizeof(header));
    for (size_t i = 0; i < size; i++)
        taken->sum += record[i];
    memcpy(taken->last, record, size < sizeof(taken->last) ? size : sizeof(taken->last));
    taken->n++;
    taken->bytes += size;
}

/* Writes a record at `head` as the kernel would, over the edge where it comes to it. */
static uint64_t put(const struct guarded *ring, uint64_t head, uint16_t size, uint8_t fill)
{
    uint8_t record[UINT16_MAX];
    struct kp_record_header header = {.type = KP_RECORD_FORK, .size = size};
    memset(record, fill, size);
    memcpy(record, &header, sizeof(header));
    for (size_t i = 0; i < size; i++)
        ring->data[(head + i) % ring->size] = record[i];
    return head + size;
}

TEST(ring_nothing_waiting)
{
    struct guarded ring = make_ring(1);
    struct taken taken = {.n = 0};
    CHECK_EQ(kp_ring_walk(ring.data, ring.size, 4096, 4096, take, &taken), 4096);
    CHECK_EQ(taken.n, 0);
    free_ring(&ring);
}

TEST(ring_records_in_order)
{
    struct guarded ring = make_ring(1);
    struct taken taken = {.n = 0};
    uint64_t head = put(&ring, put(&ring, 0, 32, 1), 48, 2);
    CHECK_EQ(kp_ring_walk(ring.data, ring.size, 0, head, take, &taken), head);
    CHECK_EQ(taken.n, 2);
    CHECK_EQ(taken.bytes, 80);
    CHECK_EQ(taken.last[8], 2);
    free_ring(&ring);
}

/* Every size at every place: with the counters far beyond the size, and about to wrap. */
TEST(ring_records_over_the_edge)
{
    struct guarded ring = make_ring(1);
    const uint64_t starts[] = {0, 1ULL << 32, 0 - (uint64_t)ring.size};
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++)
        for (uint64_t at = ring.size - 128; at <= ring.size; at += 8)
            for (uint16_t size = 8; size <= 256; size += 8) {
                struct taken taken = {.n = 0};
                uint64_t tail = starts[s] + at, head = put(&ring, tail, size, 7);
                CHECK(kp_ring_walk(ring.data, ring.size, tail, head, take, &taken) == head);
                CHECK_EQ(taken.n, 1);
                CHECK_EQ(taken.bytes, size);
                if (size > 8)
                    CHECK_EQ(taken.last[8], 7);
            }
    free_ring(&ring);
}

TEST(ring_record_as_large_as_the_ring)
{
    struct guarded ring = make_ring(1);
    struct taken taken = {.n = 0};
    uint16_t size = ring.size < UINT16_MAX ? (uint16_t)ring.size : UINT16_MAX - 7;
    uint64_t head = put(&ring, 16, size, 3);
    CHECK_EQ(kp_ring_walk(ring.data, ring.size, 16, head, take, &taken), head);
    CHECK_EQ(taken.bytes, size);
    free_ring(&ring);
}

/* ---- what is no record ---- */

static void set_size(const struct guarded *ring, uint64_t at, uint16_t size)
{
    struct kp_record_header header = {.type = KP_RECORD_FORK, .size = size};
    memcpy(ring->data + at, &header, sizeof(header));
}

/* The walk ends at head: nothing behind what is no record can be told apart. */
static void check_refused(const struct guarded *ring, uint64_t tail, uint64_t head)
{
    struct taken taken = {.n = 0};
    CHECK(kp_ring_walk(ring->data, ring->size, tail, head, take, &taken) == head);
    CHECK_EQ(taken.n, 0);
}

TEST(ring_sizes_that_cannot_be)
{
    struct guarded ring = make_ring(1);
    static const uint16_t sizes[] = {0, 1, 7, 9, 12, 41, 48, UINT16_MAX, UINT16_MAX - 7};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        set_size(&ring, 64, sizes[i]);
        check_refused(&ring, 64, 64 + 40);
        set_size(&ring, ring.size - 8, sizes[i]);
        check_refused(&ring, ring.size - 8, ring.size - 8 + 40);
    }
    free_ring(&ring);
}

TEST(ring_cut_short)
{
    struct guarded ring = make_ring(1);
    struct taken taken = {.n = 0};
    uint64_t head = put(&ring, put(&ring, 0, 32, 1), 64, 2);
    CHECK_EQ(kp_ring_walk(ring.data, ring.size, 0, head - 8, take, &taken), head - 8);
    CHECK_EQ(taken.n, 1); /* the whole one before it counts */
    free_ring(&ring);
}

TEST(ring_counters_that_cannot_be)
{
    struct guarded ring = make_ring(1);
    put(&ring, 0, 32, 1);
    for (uint64_t off = 1; off < 8; off++) {
        check_refused(&ring, ring.size - off, ring.size + 64 - off); /* a header over the edge */
        check_refused(&ring, 0, 32 + off);
    }
    check_refused(&ring, 64, 0);            /* head behind tail */
    check_refused(&ring, 0, ring.size + 8); /* more than there is room for */
    check_refused(&ring, 0, UINT64_MAX & ~7u);
    memset(ring.data, 0xf8, ring.size); /* a size larger than the ring, and room for it claimed */
    check_refused(&ring, 0, 16 * ring.size);
    free_ring(&ring);
}

TEST(ring_of_noise)
{
    uint64_t state = 0x2545f4914f6cdd1du;
    int times = repeat(4000);
    for (int i = 0; i < times; i++) {
        struct guarded ring = make_ring(1u << (random_word(&state) % 3));
        struct taken taken = {.n = 0};
        for (size_t at = 0; at < ring.size; at += 8) {
            uint64_t word = random_word(&state);
            if (word % 4 != 0) /* else noise: a header that may be one */
                word = (word & 0xffffffffffff) | (random_word(&state) % 32 * 4) << 48;
            memcpy(ring.data + at, &word, 8);
        }
        uint64_t tail = random_word(&state), head = tail + random_word(&state) % (ring.size + 64);
        if (i % 8 != 0) { /* else anything, aligned or not */
            tail &= ~7ULL;
            head &= ~7ULL;
        }
        uint64_t end = kp_ring_walk(ring.data, ring.size, tail, head, take, &taken);
        CHECK(taken.bytes <= ring.size);
        CHECK(end == head || head - end < sizeof(struct kp_record_header));
        free_ring(&ring);
    }
}

/* Records of random sizes through a small ring, many times around: all arrive, in order, whole. */
TEST(ring_many_times_around)
{
    uint64_t state = 88172645463325252u, head = 0, tail = 0, sent = 0, sent_bytes = 0;
    struct guarded ring = make_ring(1);
    struct taken taken = {.n = 0};
    for (int i = 0; i < 20000; i++) {
        uint16_t size = (uint16_t)(8 + random_word(&state) % 60 * 8);
        if (head + size - tail > ring.size || random_word(&state) % 8 == 0)
            tail = kp_ring_walk(ring.data, ring.size, tail, head, take, &taken);
        head = put(&ring, head, size, (uint8_t)i);
        sent++;
        sent_bytes += size;
    }
    tail = kp_ring_walk(ring.data, ring.size, tail, head, take, &taken);
    CHECK_EQ(tail, head);
    CHECK_EQ(taken.n, sent);
    CHECK_EQ(taken.bytes, sent_bytes);
    free_ring(&ring);
}

/* ---- a ring of the kernel's ---- */

TEST(ring_that_cannot_be_mapped)
{
    struct kp_ring ring = {.base = NULL};
    int before = open_descriptors(), fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK_EQ(kp_ring_create(-1, 4096, &ring), KP_E_SYSTEM); /* no matter of the memory budget */
    CHECK_EQ(kp_last_error()->sys_errno, EBADF);
    CHECK_EQ(kp_ring_create(fd, 4096, &ring), KP_E_SYSTEM); /* not open for writing */
    CHECK_EQ(kp_last_error()->sys_errno, EACCES);
    CHECK(ring.base == NULL);
    kp_ring_drain(&ring, take, NULL);
    kp_ring_destroy(&ring);
    close(fd);
    CHECK_EQ(open_descriptors(), before);
}

static void do_nothing(void *unused)
{
    (void)unused;
}

TEST(ring_of_the_kernel)
{
    struct kp_ring ring;
    struct taken taken = {.n = 0};
    struct kp_attr attr = kp_dummy_attr();
    attr.flags |= KP_ATTR_TASK;
    int before = open_descriptors();
    int fd = kp_perf_event_open(&attr, 0, -1, -1, KP_OPEN_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_OK(kp_ring_create(fd, 10000, &ring));
    CHECK(ring.size >= 10000);
    in_child(do_nothing, NULL);
    kp_ring_drain(&ring, take, &taken);
    CHECK_EQ(taken.n, 1);
    struct kp_record_fork record;
    memcpy(&record, taken.last, sizeof(record));
    CHECK_EQ(record.header.type, KP_RECORD_FORK);
    CHECK_EQ(record.ppid, getpid());
    kp_ring_drain(&ring, take, &taken);
    CHECK_EQ(taken.n, 1); /* what was taken is gone */
    kp_ring_destroy(&ring);
    CHECK_EQ(open_descriptors(), before);
}
