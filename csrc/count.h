/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_COUNT_H
#define KPERF_COUNT_H

#include "session.h"

/* 1 if the groups of one of the session's tasks can be read: a child that was born between the
 * opening of two members has a group of another shape, and the kernel then refuses to add it up
 * (ECHILD). */
int kp_task_readable(const struct kp_session *session, size_t task);

/* Adds to each event's entry how long it was enabled and how long it ran since the last call. */
int kp_session_add_times(struct kp_session *session, struct kp_loss *events);

/* As kp_session_read, of one task alone; its name is left as it is. */
int kp_session_read_task(struct kp_session *session, const struct kp_session_task *task,
                         struct kp_counts **out);

/* Rows of zeros; NULL without memory. */
struct kp_counts *kp_counts_create(size_t n);

/* value x enabled / running without overflow, rounded. */
uint64_t kp_scale(uint64_t value, uint64_t enabled, uint64_t running);

#endif
