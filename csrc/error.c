/* SPDX-License-Identifier: Apache-2.0
 * The last error of a thread: code, errno, where, one sentence. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct kp_error last_error = {.event = -1, .cpu = -1, .tid = -1};

static struct kp_error *start(int code, int sys_errno)
{
    memset(&last_error, 0, sizeof(last_error));
    last_error.code = code;
    last_error.sys_errno = sys_errno;
    last_error.event = last_error.cpu = last_error.tid = -1;
    return &last_error;
}

const struct kp_error *kp_last_error(void)
{
    return &last_error;
}

const char *kp_version(void)
{
    return KPERF_VERSION;
}

int kp_fail(int code, int sys_errno, const char *format, ...)
{
    struct kp_error *error = start(code, sys_errno);
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    return code;
}

int kp_fail_at(int code, int sys_errno, int32_t event, int32_t cpu, int32_t tid, const char *what)
{
    kp_fail(code, sys_errno, "%s", what);
    last_error.event = event;
    last_error.cpu = cpu;
    last_error.tid = tid;
    return code;
}

int kp_fail_budget(int code, int sys_errno, uint64_t needed, uint64_t limit, const char *what)
{
    kp_fail(code, sys_errno, "%s", what);
    last_error.needed = needed;
    last_error.limit = limit;
    return code;
}
