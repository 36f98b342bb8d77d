/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_DRAIN_H
#define KPERF_DRAIN_H

#include "ring.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/* A thread that empties rings into `take` while the program does something else. Every record is
 * handed over under `lock`, by this thread or by whoever calls kp_drain_all. */
struct kp_drain {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct kp_ring *rings; /* one a CPU; without memory where nothing is recorded */
    size_t n_rings;
    kp_record_fn *take;
    int (*work)(void *context);   /* called between drains while it returns 1; may be NULL */
    void (*round)(void *context); /* empties all rings in its own way; NULL: each by itself */
    void *context;
    size_t wake_bytes; /* in a ring that wake the thread; 0: a quarter of it */
    pid_t tid;
    int epoll;
    int wake; /* an eventfd: there is something new to do */
    int stop;
    int perf_clock; /* records have the perf clock, and not CLOCK_MONOTONIC */
    int working;    /* `work` has not come to its end */
};

/* Starts the thread; it is known by its tid before this returns. */
int kp_drain_start(struct kp_drain *drain, size_t n_rings, kp_record_fn *take,
                   int (*work)(void *context), void *context);

/* Ends the thread and unmaps the rings. For one that never started: nothing. */
void kp_drain_stop(struct kp_drain *drain);

/* For a forked child: closes its copies of the descriptors. The kernel gave it no ring memory. */
void kp_drain_abandon(struct kp_drain *drain);

/* The ring of a CPU, mapped when it is first asked for; its size is told. */
int kp_drain_ring(struct kp_drain *drain, int32_t cpu, size_t bytes, struct kp_ring **out);

/* Maps the rings of many CPUs at once, all of one size: what is asked for, or what the memory that
 * may be locked is enough for, so that the first ones take nothing from the others. To be called
 * before any other is asked for.
 */
int kp_drain_rings(struct kp_drain *drain, const int32_t *cpus, size_t n, size_t bytes);

/* Has the thread call `work` until that returns 0. */
void kp_drain_begin_work(struct kp_drain *drain);
void kp_drain_finish_work(struct kp_drain *drain);

/* From now on every ring is emptied by `round`, whenever one of them has something to give. To be
 * called before the first ring is asked for. */
void kp_drain_in_rounds(struct kp_drain *drain, void (*round)(void *context));

/* Empties every ring now. The caller holds the lock. */
void kp_drain_all(struct kp_drain *drain);

#endif
