/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_ATTACH_H
#define KPERF_ATTACH_H

#include "session.h"

/* Opens the session's events for every thread of its pids, and for its tids: none missed, none
 * counted twice. */
int kp_attach_processes(struct kp_session *session);

/* Returns when every thread that was inheriting counters in this moment has them. Best effort. */
void kp_attach_await_newborn(const struct kp_session *session);

#endif
