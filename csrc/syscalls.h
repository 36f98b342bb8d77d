/* SPDX-License-Identifier: Apache-2.0
 * What every way of tracing system calls gives: see struct kp_call_row in kperf_core.h. */
#ifndef KPERF_SYSCALLS_H
#define KPERF_SYSCALLS_H

#include "histogram.h"
#include "kperf_core.h"

/* What an error looks like in a system call's result. */
enum { KP_MOST_ERRNO = 4095 };

static inline int kp_call_failed(int64_t ret)
{
    return ret < 0 && ret >= -KP_MOST_ERRNO;
}

#endif
