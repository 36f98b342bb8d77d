/* SPDX-License-Identifier: Apache-2.0
 * What every way of tracing system calls gives (see struct kp_call_row in kperf_core.h), and how
 * the rings' records become it: beginnings and ends are paired thread by thread. */
#ifndef KPERF_SYSCALLS_H
#define KPERF_SYSCALLS_H

#include "column.h"
#include "histogram.h"
#include "kperf_core.h"
#include "strings.h"

/* What an error looks like in a system call's result. */
enum { KP_MOST_ERRNO = 4095 };

static inline int kp_call_failed(int64_t ret)
{
    return ret < 0 && ret >= -KP_MOST_ERRNO;
}

/* ---- pairing ---- */

/* A process or thread that is met for the first time, as /proc knows it. */
typedef void kp_meet_fn(int32_t tid, int32_t pid, uint8_t *bits, char comm[16]);

struct kp_pairs;

int kp_pairs_create(const struct kp_call_options *options, kp_meet_fn *meet, struct kp_pairs **out);
void kp_pairs_destroy(struct kp_pairs *pairs);

/* The window: calls count that begin and end in [from, until). */
void kp_pairs_open(struct kp_pairs *pairs, uint64_t from);
void kp_pairs_until(struct kp_pairs *pairs, uint64_t until);

/* Everything from before its end was told: what has not returned is unfinished. */
void kp_pairs_close(struct kp_pairs *pairs);

/* What happened, in an order in which whatever follows from something comes behind it. */
void kp_pairs_enter(struct kp_pairs *pairs, uint64_t time, int32_t pid, int32_t tid,
                    int64_t number);
void kp_pairs_exit(struct kp_pairs *pairs, uint64_t time, int32_t pid, int32_t tid, int32_t cpu,
                   int64_t number, int64_t ret);
void kp_pairs_fork(struct kp_pairs *pairs, int32_t pid, int32_t tid, int32_t ppid, int32_t ptid);
void kp_pairs_end(struct kp_pairs *pairs, int32_t tid);
void kp_pairs_comm(struct kp_pairs *pairs, int32_t pid, int32_t tid, const char *name, size_t size);

/* An exec: the thread's number was `old` until then; its program has `bits` (0: not known). */
void kp_pairs_exec(struct kp_pairs *pairs, int32_t pid, int32_t tid, int32_t old, uint8_t bits);

/* Records may be missing from now on, until a time that is told when it is known: calls that are
 * under way are given up, and none that begins before then is taken. */
void kp_pairs_distrust(struct kp_pairs *pairs);
void kp_pairs_trust_from(struct kp_pairs *pairs, uint64_t time);
void kp_pairs_lost(struct kp_pairs *pairs, uint64_t records);

/* What came since the last read. The window was closed, or goes on. */
int kp_pairs_read_summary(struct kp_pairs *pairs, struct kp_call_summary **out);
int kp_pairs_read_calls(struct kp_pairs *pairs, struct kp_calls **out);

#endif
