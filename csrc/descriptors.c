/* SPDX-License-Identifier: Apache-2.0
 * The budget of file descriptors: what a session needs is known before it opens the first one. */
#include "descriptors.h"

#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    SPARE = 64,         /* for the host program, and for the files that opening itself reads */
    FIRST_LIFTED = 1024 /* select() serves descriptors below FD_SETSIZE: those stay with the host */
};

static uint64_t descriptors_in_use(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (dir == NULL)
        return SPARE;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

int kp_descriptors_reserve(uint64_t more)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    uint64_t in_use = descriptors_in_use();
    if (in_use + more <= limit.rlim_cur && more <= 256)
        return 0;
    /* Lifted descriptors leave holes below FIRST_LIFTED, which the limit counts too. */
    uint64_t wanted = in_use + more + SPARE + (more > 256 ? FIRST_LIFTED : 0);
    if (wanted <= limit.rlim_cur)
        return 0;
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (wanted > raised.rlim_max)
        raised.rlim_cur = raised.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return 0;
    /* Only the superuser may raise the hard limit; up to it everybody may go. */
    raised.rlim_cur = raised.rlim_max = limit.rlim_max;
    if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) != 0)
        raised.rlim_cur = limit.rlim_cur;
    return in_use + more <= raised.rlim_cur ? 0 : kp_descriptors_exhausted(EMFILE, in_use + more);
}

int kp_descriptors_reserve_spare(uint64_t more)
{
    return kp_descriptors_reserve(more + SPARE);
}

int kp_descriptors_exhausted(int sys_errno, uint64_t needed)
{
    struct rlimit limit = {0, 0};
    getrlimit(RLIMIT_NOFILE, &limit);
    return kp_fail_budget(KP_E_FILES, sys_errno, needed, limit.rlim_cur,
                          "too many file descriptors");
}

int kp_descriptor_lift(int fd)
{
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_LIFTED);
    if (lifted < 0)
        return fd;
    close(fd);
    return lifted;
}
