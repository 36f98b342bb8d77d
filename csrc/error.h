/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_ERROR_H
#define KPERF_ERROR_H

#include "kperf_core.h"

/* Each sets the calling thread's error and returns its code. */
int kp_fail(int code, int sys_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));
int kp_fail_at(int code, int sys_errno, int32_t event, int32_t cpu, int32_t tid, const char *what);
int kp_fail_budget(int code, int sys_errno, uint64_t needed, uint64_t limit, const char *what);

#endif
