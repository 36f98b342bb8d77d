/* SPDX-License-Identifier: Apache-2.0
 * Pairing of sys_enter with sys_exit, thread by thread. Whatever cannot be paired for certain is
 * counted as lost instead: no call ever has another one's end. */
#include "syscalls.h"

#include "callsink.h"
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the kernel means by some results and numbers, which programs never see. */
enum { RESTART_BLOCK = -516, INTERRUPTED = -4, NO_NUMBER = -1 };

#ifdef __x86_64__
enum { RENUMBERS_EXEC = 1 };
#else
enum { RENUMBERS_EXEC = 0 };
#endif

enum { PAGE_TIDS = 1024, MOST_TIDS = 1 << 22, N_PAGES = MOST_TIDS / PAGE_TIDS };

enum state {
    OUTSIDE,  /* in no call that is known */
    INSIDE,   /* entered, not returned */
    SUSPENDED /* returned to be resumed by restart_syscall, unless a handler ends it */
};

struct thread {
    uint64_t start;
    uint64_t until; /* SUSPENDED: when it returned */
    uint32_t number;
    uint32_t next_free;
    int32_t pid;
    int32_t tid;
    int32_t cpu; /* SUSPENDED: where it returned */
    uint8_t state;
    uint8_t bits;
    uint8_t resumed;   /* it goes on in restart_syscall */
    uint8_t executing; /* another program: it may return under another number */
    uint8_t next_bits; /* that program's */
    uint8_t newborn;   /* nothing was seen of it but its birth */
    char comm[16];
};

struct kp_pairs {
    struct kp_call_sink sink;
    kp_meet_fn *meet;
    struct kp_call_options options; /* with its numbers, owned */
    uint64_t from, until;           /* the window */
    uint64_t trusted_from;          /* records before it are of a time in which some may be lost */
    int distrusted;                 /* since when is past, until when is not known yet */
    int lost_before;                /* ends without beginnings may be of calls that were given up */
    uint32_t *pages[N_PAGES];       /* by tid: its thread + 1 */
    struct thread *threads;
    uint32_t n_threads, room, free; /* the first free one + 1 */
};

/* ---- threads ---- */

static uint32_t *place_of(struct kp_pairs *pairs, int32_t tid)
{
    if (tid < 0 || tid >= MOST_TIDS)
        return NULL;
    uint32_t **page = &pairs->pages[tid / PAGE_TIDS];
    if (*page == NULL)
        *page = calloc(PAGE_TIDS, sizeof(**page));
    return *page == NULL ? NULL : &(*page)[tid % PAGE_TIDS];
}

static struct thread *known(struct kp_pairs *pairs, int32_t tid)
{
    uint32_t *place = place_of(pairs, tid);
    return place == NULL || *place == 0 ? NULL : &pairs->threads[*place - 1];
}

static uint32_t free_thread(struct kp_pairs *pairs)
{
    uint32_t number = pairs->free;
    if (number != 0) {
        pairs->free = pairs->threads[number - 1].next_free;
        return number;
    }
    if (pairs->n_threads == pairs->room) {
        uint32_t room = pairs->room ? 2 * pairs->room : 256;
        struct thread *grown = realloc(pairs->threads, room * sizeof(*grown));
        if (grown == NULL)
            return 0;
        pairs->threads = grown;
        pairs->room = room;
    }
    return ++pairs->n_threads;
}

/* A thread of which nothing is known yet; NULL: no memory. */
static struct thread *add(struct kp_pairs *pairs, int32_t pid, int32_t tid)
{
    uint32_t *place = place_of(pairs, tid);
    if (place == NULL)
        return NULL;
    if (*place == 0 && (*place = free_thread(pairs)) == 0)
        return NULL;
    struct thread *thread = &pairs->threads[*place - 1];
    *thread = (struct thread){.pid = pid, .tid = tid, .bits = 64};
    return thread;
}

static void forget(struct kp_pairs *pairs, struct thread *thread)
{
    uint32_t *place = place_of(pairs, thread->tid);
    thread->tid = -1;
    thread->state = OUTSIDE;
    thread->next_free = pairs->free;
    pairs->free = *place;
    *place = 0;
}

/* The thread of a record; one that was there before us is asked after. */
static struct thread *thread_of(struct kp_pairs *pairs, int32_t pid, int32_t tid)
{
    struct thread *thread = known(pairs, tid);
    if (thread != NULL)
        return thread;
    thread = add(pairs, pid, tid);
    if (thread != NULL && pairs->meet != NULL)
        pairs->meet(tid, pid, &thread->bits, thread->comm);
    return thread;
}

/* ---- which calls ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static int is_wanted(const struct kp_pairs *pairs, uint32_t number, uint8_t bits)
{
    const struct kp_call_options *options = &pairs->options;
    if (options->n_numbers == 0 && options->n_numbers_32 == 0)
        return 1;
    const uint32_t *numbers = bits == 32 ? options->numbers_32 : options->numbers;
    size_t n = bits == 32 ? options->n_numbers_32 : options->n_numbers;
    return n > 0 && bsearch(&number, numbers, n, sizeof(number), compare_numbers) != NULL;
}

static int is_restart(const struct kp_pairs *pairs, const struct thread *thread, int64_t number)
{
    return number == (thread->bits == 32 ? pairs->options.restart_32 : pairs->options.restart);
}

static int is_sigreturn(const struct kp_pairs *pairs, const struct thread *thread)
{
    const struct kp_call_options *options = &pairs->options;
    if (thread->bits == 32)
        return thread->number == options->sigreturn_32 ||
               thread->number == options->rt_sigreturn_32;
    return thread->number == options->sigreturn;
}

/* ---- calls ---- */

static struct kp_call call_of(const struct thread *thread)
{
    return (struct kp_call){.start = thread->start,
                            .number = thread->number,
                            .bits = thread->bits,
                            .pid = thread->pid,
                            .tid = thread->tid,
                            .comm = thread->comm};
}

static void begin(struct thread *thread, uint64_t time, uint32_t number)
{
    thread->state = INSIDE;
    thread->start = time;
    thread->number = number;
    thread->resumed = thread->executing = 0;
}

static void finish(struct kp_pairs *pairs, struct thread *thread, uint64_t time, int32_t cpu,
                   int64_t ret)
{
    struct kp_call call = call_of(thread);
    call.elapsed = time > thread->start ? time - thread->start : 0;
    call.ret = ret;
    call.cpu = cpu;
    thread->state = OUTSIDE;
    kp_sink_finished(&pairs->sink, &call);
}

static void leave_unfinished(struct kp_pairs *pairs, struct thread *thread)
{
    if (thread->state == OUTSIDE)
        return;
    struct kp_call call = call_of(thread);
    thread->state = OUTSIDE;
    kp_sink_unfinished(&pairs->sink, &call);
}

static void give_up(struct kp_pairs *pairs, struct thread *thread)
{
    if (thread->state == OUTSIDE)
        return;
    thread->state = OUTSIDE;
    pairs->sink.loss.dropped++;
    pairs->lost_before = 1;
}

/* The new program has begun. */
static void settle(struct thread *thread)
{
    if (thread->executing)
        thread->bits = thread->next_bits;
    thread->executing = 0;
}

static int is_outside(const struct kp_pairs *pairs, uint64_t time)
{
    return time < pairs->from || time >= pairs->until;
}

static int is_doubtful(const struct kp_pairs *pairs, uint64_t time)
{
    return pairs->distrusted || time < pairs->trusted_from;
}

/* ---- what the records say ---- */

void kp_pairs_enter(struct kp_pairs *pairs, uint64_t time, int32_t pid, int32_t tid, int64_t number)
{
    struct thread *thread = thread_of(pairs, pid, tid);
    if (thread != NULL)
        thread->newborn = 0;
    if (thread != NULL && thread->executing) {
        give_up(pairs, thread); /* its end was not seen */
        settle(thread);
    }
    if (is_outside(pairs, time))
        return;
    if (thread == NULL || is_doubtful(pairs, time)) {
        pairs->sink.loss.dropped++;
        pairs->lost_before = 1;
        return;
    }
    if (thread->state == SUSPENDED && is_restart(pairs, thread, number)) {
        thread->state = INSIDE;
        thread->resumed = 1;
        return;
    }
    if (thread->state == SUSPENDED) /* a handler ran instead, and the call was over */
        finish(pairs, thread, thread->until, thread->cpu, INTERRUPTED);
    give_up(pairs, thread);
    /* What is resumed here began where nobody saw it. */
    if (!is_restart(pairs, thread, number) && is_wanted(pairs, (uint32_t)number, thread->bits))
        begin(thread, time, (uint32_t)number);
}

static int ends_it(const struct kp_pairs *pairs, const struct thread *thread, int64_t number)
{
    return number == thread->number || thread->executing ||
           (thread->resumed && is_restart(pairs, thread, number)) ||
           (number == NO_NUMBER && is_sigreturn(pairs, thread));
}

/* It began before the window, or out of sight as it was refused by a seccomp filter. */
static void take_end_alone(struct kp_pairs *pairs, const struct thread *thread, int64_t number,
                           int64_t ret)
{
    int is_birth = thread->newborn && ret == 0; /* the child's side of clone */
    struct kp_call call = call_of(thread);
    call.number = (uint32_t)number;
    /* x86 gives an exec that succeeded the number that it has in the new program. */
    if (RENUMBERS_EXEC && thread->executing)
        call.bits = thread->next_bits;
    if (is_birth || pairs->lost_before || number == NO_NUMBER || ret == RESTART_BLOCK ||
        !is_wanted(pairs, call.number, call.bits))
        return;
    kp_sink_begun_before(&pairs->sink, &call);
}

static void take_end(struct kp_pairs *pairs, struct thread *thread, uint64_t time, int32_t cpu,
                     int64_t number, int64_t ret)
{
    if (!ends_it(pairs, thread, number)) {
        give_up(pairs, thread);
    } else if (ret == RESTART_BLOCK) {
        thread->state = SUSPENDED;
        thread->until = time;
        thread->cpu = cpu;
    } else {
        finish(pairs, thread, time, cpu, ret);
    }
}

void kp_pairs_exit(struct kp_pairs *pairs, uint64_t time, int32_t pid, int32_t tid, int32_t cpu,
                   int64_t number, int64_t ret)
{
    struct thread *thread = thread_of(pairs, pid, tid);
    if (thread == NULL)
        return;
    if (is_doubtful(pairs, time))
        give_up(pairs, thread);
    else if (is_outside(pairs, time))
        ;
    else if (thread->state == INSIDE)
        take_end(pairs, thread, time, cpu, number, ret);
    else if (thread->state == SUSPENDED) /* another call of it, which was not to be seen */
        finish(pairs, thread, thread->until, thread->cpu, INTERRUPTED);
    else
        take_end_alone(pairs, thread, number, ret);
    thread->newborn = 0;
    settle(thread);
}

void kp_pairs_fork(struct kp_pairs *pairs, int32_t pid, int32_t tid, int32_t ppid, int32_t ptid)
{
    struct thread *old = known(pairs, tid);
    if (old != NULL)
        leave_unfinished(pairs, old);
    const struct thread *parent = thread_of(pairs, ppid, ptid);
    struct thread like = {.bits = 64};
    if (parent != NULL)
        like = *parent;
    struct thread *thread = add(pairs, pid, tid);
    if (thread == NULL)
        return;
    thread->newborn = 1;
    thread->bits = like.bits;
    memcpy(thread->comm, like.comm, sizeof(thread->comm));
}

void kp_pairs_end(struct kp_pairs *pairs, int32_t tid)
{
    struct thread *thread = known(pairs, tid);
    if (thread == NULL)
        return;
    leave_unfinished(pairs, thread);
    forget(pairs, thread);
}

void kp_pairs_comm(struct kp_pairs *pairs, int32_t pid, int32_t tid, const char *name, size_t size)
{
    struct thread *thread = thread_of(pairs, pid, tid);
    if (thread == NULL)
        return;
    memset(thread->comm, 0, sizeof(thread->comm));
    memcpy(thread->comm, name, size < sizeof(thread->comm) ? size : sizeof(thread->comm) - 1);
}

void kp_pairs_exec(struct kp_pairs *pairs, int32_t pid, int32_t tid, int32_t old, uint8_t bits)
{
    struct thread *was = known(pairs, old);
    struct thread moved = {.bits = 64};
    if (was != NULL)
        moved = *was;
    if (old != tid) {
        kp_pairs_end(pairs, tid); /* the leader, which is gone */
        if (was != NULL)
            forget(pairs, was);
    }
    struct thread *thread = add(pairs, pid, tid);
    if (thread == NULL)
        return;
    *thread = moved;
    thread->pid = pid;
    thread->tid = tid;
    thread->newborn = 0;
    thread->next_bits = bits == 0 ? moved.bits : bits;
    thread->executing = 1;
}

/* ---- trust ---- */

static void each_thread(struct kp_pairs *pairs, void (*act)(struct kp_pairs *, struct thread *))
{
    for (uint32_t i = 0; i < pairs->n_threads; i++)
        act(pairs, &pairs->threads[i]);
}

void kp_pairs_distrust(struct kp_pairs *pairs)
{
    if (pairs->distrusted)
        return;
    pairs->distrusted = pairs->lost_before = 1;
    each_thread(pairs, give_up);
}

void kp_pairs_trust_from(struct kp_pairs *pairs, uint64_t time)
{
    pairs->distrusted = 0;
    if (time > pairs->trusted_from)
        pairs->trusted_from = time;
}

void kp_pairs_lost(struct kp_pairs *pairs, uint64_t records)
{
    pairs->sink.loss.lost += records;
}

/* ---- the window ---- */

void kp_pairs_open(struct kp_pairs *pairs, uint64_t from)
{
    pairs->from = from;
    pairs->until = UINT64_MAX;
    pairs->lost_before = 0;
}

void kp_pairs_until(struct kp_pairs *pairs, uint64_t until)
{
    if (until < pairs->until)
        pairs->until = until;
}

void kp_pairs_close(struct kp_pairs *pairs)
{
    each_thread(pairs, leave_unfinished);
}

static void count_under_way(struct kp_pairs *pairs, struct thread *thread)
{
    uint8_t state = thread->state;
    leave_unfinished(pairs, thread);
    thread->state = state;
}

int kp_pairs_read_summary(struct kp_pairs *pairs, struct kp_call_summary **out)
{
    each_thread(pairs, count_under_way);
    int rc = kp_sink_summary(&pairs->sink, out);
    kp_sink_forget_rows(&pairs->sink);
    return rc;
}

int kp_pairs_read_calls(struct kp_pairs *pairs, struct kp_calls **out)
{
    return kp_sink_calls(&pairs->sink, out);
}

/* ---- creation ---- */

static const uint32_t *copy_sorted(const uint32_t *numbers, size_t n)
{
    uint32_t *copy = calloc(n + 1, sizeof(*copy));
    if (copy == NULL || n == 0)
        return copy;
    memcpy(copy, numbers, n * sizeof(*copy));
    qsort(copy, n, sizeof(*copy), compare_numbers);
    return copy;
}

int kp_pairs_create(const struct kp_call_options *options, kp_meet_fn *meet, struct kp_pairs **out)
{
    struct kp_pairs *pairs = calloc(1, sizeof(*pairs));
    if (pairs == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a trace");
    pairs->meet = meet;
    pairs->options = *options;
    pairs->options.numbers = copy_sorted(options->numbers, options->n_numbers);
    pairs->options.numbers_32 = copy_sorted(options->numbers_32, options->n_numbers_32);
    int rc = pairs->options.numbers == NULL || pairs->options.numbers_32 == NULL
                 ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the calls' numbers")
                 : kp_sink_create(&pairs->sink, options);
    if (rc != 0) {
        kp_pairs_destroy(pairs);
        return rc;
    }
    *out = pairs;
    return 0;
}

void kp_pairs_destroy(struct kp_pairs *pairs)
{
    if (pairs == NULL)
        return;
    kp_sink_destroy(&pairs->sink);
    for (size_t i = 0; i < N_PAGES; i++)
        free(pairs->pages[i]);
    free((uint32_t *)pairs->options.numbers);
    free((uint32_t *)pairs->options.numbers_32);
    free(pairs->threads);
    free(pairs);
}
