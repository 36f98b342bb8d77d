/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_WATCH_H
#define KPERF_WATCH_H

#include "kperf_core.h"

/* A thread's birth or end as the kernel recorded it. Time of CLOCK_MONOTONIC, ns. */
struct kp_fork {
    uint64_t time;
    int32_t tid;
    int32_t ptid; /* who made it; 0: it ended */
};

struct kp_watch;

/* Watches every process where that is permitted, else the tasks that are added. */
int kp_watch_create(struct kp_watch **out);
void kp_watch_destroy(struct kp_watch *watch);
int kp_watch_add(struct kp_watch *watch, int32_t tid);

/* How many descriptors each added task takes. */
uint64_t kp_watch_cost(const struct kp_watch *watch);

/* Makes room in the rings; to be called often enough that none runs full. */
int kp_watch_pull(struct kp_watch *watch);

/* All births and ends of threads seen since creation, by time. The array stays the watch's. */
int kp_watch_drain(struct kp_watch *watch, const struct kp_fork **forks, size_t *n);
uint64_t kp_watch_lost(const struct kp_watch *watch);

#endif
