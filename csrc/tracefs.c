/* SPDX-License-Identifier: Apache-2.0
 * A detached tracefs for systems where none is mounted: it lives as long as its descriptor. */
#include "error.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers that all architectures share (Linux 5.2); headers of older distributions lack them. */
enum { NR_FSOPEN = 430, NR_FSCONFIG = 431, NR_FSMOUNT = 432 };
enum { FSOPEN_CLOEXEC_FLAG = 1, FSCONFIG_CREATE = 6, FSMOUNT_CLOEXEC_FLAG = 1 };

int kp_tracefs_open(int32_t *out)
{
    int context = (int)syscall(NR_FSOPEN, "tracefs", FSOPEN_CLOEXEC_FLAG);
    if (context < 0)
        return kp_fail(KP_E_TRACEFS, errno, "fsopen");
    int mount = -1;
    if (syscall(NR_FSCONFIG, context, FSCONFIG_CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(NR_FSMOUNT, context, FSMOUNT_CLOEXEC_FLAG, 0);
    int failure = errno;
    close(context);
    if (mount < 0)
        return kp_fail(KP_E_TRACEFS, failure, "fsmount");
    *out = mount;
    return 0;
}
