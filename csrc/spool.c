/* SPDX-License-Identifier: Apache-2.0
 * A file that grows while records are drained. */
#include "spool.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

int kp_spool_create(struct kp_spool *spool, int fd)
{
    *spool = (struct kp_spool){.fd = fd};
    if (fd < 0)
        return 0;
    spool->buffer = malloc(BUFFER);
    return spool->buffer != NULL ? 0 : kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a buffer");
}

void kp_spool_destroy(struct kp_spool *spool)
{
    free(spool->buffer);
    spool->buffer = NULL;
}

static void write_out(struct kp_spool *spool, const uint8_t *bytes, size_t n)
{
    while (n > 0 && spool->failed == 0) {
        ssize_t written = write(spool->fd, bytes, n);
        if (written < 0 && errno != EINTR)
            spool->failed = errno;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
}

void kp_spool_flush(struct kp_spool *spool)
{
    if (spool->fd >= 0)
        write_out(spool, spool->buffer, spool->used);
    spool->used = 0;
}

void kp_spool_write(struct kp_spool *spool, const void *bytes, size_t n)
{
    if (spool->fd < 0)
        return;
    if (spool->used + n > BUFFER)
        kp_spool_flush(spool);
    if (n > BUFFER) {
        write_out(spool, bytes, n);
        return;
    }
    memcpy(spool->buffer + spool->used, bytes, n);
    spool->used += n;
}
