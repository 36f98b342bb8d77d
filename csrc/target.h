/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_TARGET_H
#define KPERF_TARGET_H

#include "kperf_core.h"

/* A thread and the process that it belongs to. */
struct kp_task {
    int32_t pid;
    int32_t tid;
};

struct kp_tasks {
    struct kp_task *items;
    size_t len;
    size_t room;
};

/* Appends every thread of pid, in the kernel's order. */
int kp_tasks_add_process(struct kp_tasks *tasks, int32_t pid);
int kp_tasks_add_thread(struct kp_tasks *tasks, int32_t tid);
int kp_tasks_add(struct kp_tasks *tasks, struct kp_task task);
void kp_tasks_clear(struct kp_tasks *tasks);
void kp_tasks_free(struct kp_tasks *tasks);

/* The process of a thread, or -1. */
int32_t kp_task_process(int32_t tid);

/* 1 if a thread is asleep by its own will (or stopped): nothing is being born of it. */
int kp_task_sleeps(int32_t tid);

/* How often a thread was given a CPU: 0 until it ran first, -1 where this kernel does not tell. */
int64_t kp_task_turns(int32_t tid);

/* 16 bytes padded with NUL; untouched where the thread is gone. */
void kp_task_comm(int32_t tid, char *comm);

#endif
