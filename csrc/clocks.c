/* SPDX-License-Identifier: Apache-2.0
 * The generic timer (or time stamp counter), the perf clock and CLOCK_MONOTONIC. */
#include "clocks.h"

#include "spe_intake.h"

#include <string.h>
#include <time.h>

/* Places in the ring's control page (struct perf_event_mmap_page), and bits of capabilities. */
enum {
    AT_LOCK = 8,
    AT_CAPABILITIES = 40,
    AT_SHIFT = 50,
    AT_MULT = 52,
    AT_ZERO = 64,
    AT_CYCLES = 80,
    AT_MASK = 88
};
enum { CAP_TIME_ZERO = 1 << 4, CAP_TIME_SHORT = 1 << 5 };

static const uint64_t APART_NS = 100000000; /* between two looks */

#if defined(__aarch64__)
enum { HAS_COUNTER = 1 };
static uint64_t counter(void)
{
    uint64_t ticks;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
}
#elif defined(__x86_64__)
enum { HAS_COUNTER = 1 };
static uint64_t counter(void)
{
    return __builtin_ia32_rdtsc();
}
#else
enum { HAS_COUNTER = 0 };
static uint64_t counter(void)
{
    return 0;
}
#endif

static uint64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void read_page(struct kp_spe_clock *timer, const uint8_t *control)
{
    uint64_t capabilities;
    memcpy(&capabilities, control + AT_CAPABILITIES, sizeof(capabilities));
    memcpy(&timer->shift, control + AT_SHIFT, sizeof(timer->shift));
    memcpy(&timer->mult, control + AT_MULT, sizeof(timer->mult));
    memcpy(&timer->zero, control + AT_ZERO, sizeof(timer->zero));
    memcpy(&timer->cycles, control + AT_CYCLES, sizeof(timer->cycles));
    memcpy(&timer->mask, control + AT_MASK, sizeof(timer->mask));
    timer->is_short = (capabilities & CAP_TIME_SHORT) != 0;
    timer->known = (capabilities & CAP_TIME_ZERO) != 0 && HAS_COUNTER && timer->shift < 64;
}

void kp_clocks_learn(struct kp_clocks *clocks, const uint8_t *control)
{
    const uint32_t *lock = (const uint32_t *)(control + AT_LOCK);
    uint32_t before, after;
    do { /* the kernel makes it odd while it writes */
        before = __atomic_load_n(lock, __ATOMIC_ACQUIRE);
        read_page(&clocks->timer, control);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        after = __atomic_load_n(lock, __ATOMIC_RELAXED);
    } while (before != after || before & 1);
}

uint64_t kp_clocks_now(const struct kp_clocks *clocks)
{
    return clocks->timer.known ? kp_spe_to_ns(&clocks->timer, counter()) : 0;
}

/* Half of the pairs tell the drift as well. */
static void thin_out(struct kp_clocks *clocks)
{
    for (size_t i = 0; i < clocks->n / 2; i++)
        clocks->pairs[i] = clocks->pairs[i * 2];
    clocks->n /= 2;
}

void kp_clocks_look(struct kp_clocks *clocks)
{
    uint64_t before = monotonic(), perf = kp_clocks_now(clocks), after = monotonic();
    uint64_t middle = before + (after - before) / 2;
    if (perf == 0 || (clocks->n > 0 && middle - clocks->pairs[clocks->n - 1].monotonic < APART_NS))
        return;
    if (clocks->n == KP_MOST_PAIRS)
        thin_out(clocks);
    clocks->pairs[clocks->n].perf = perf;
    clocks->pairs[clocks->n++].monotonic = middle;
}

uint64_t kp_clocks_to_monotonic(const struct kp_clocks *clocks, uint64_t perf)
{
    size_t from = 0, to = clocks->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (clocks->pairs[middle].perf <= perf)
            from = middle + 1;
        else
            to = middle;
    }
    if (clocks->n == 0)
        return perf;
    if (from == 0 || from == clocks->n) { /* outside of all looks: as far off as the nearest */
        size_t nearest = from == 0 ? 0 : from - 1;
        return perf - clocks->pairs[nearest].perf + clocks->pairs[nearest].monotonic;
    }
    uint64_t perf_span = clocks->pairs[from].perf - clocks->pairs[from - 1].perf;
    uint64_t span = clocks->pairs[from].monotonic - clocks->pairs[from - 1].monotonic;
    double share = (double)(perf - clocks->pairs[from - 1].perf) / (double)perf_span;
    return clocks->pairs[from - 1].monotonic + (uint64_t)(share * (double)span);
}
