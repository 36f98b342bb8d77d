/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPOOL_H
#define KPERF_SPOOL_H

#include <stddef.h>
#include <stdint.h>

/* Records as they came, written to a file: the data section of a perf.data. The first failure ends
 * it, and stays. */
struct kp_spool {
    int fd;     /* -1: nothing is written */
    int failed; /* errno of the first failure */
    uint8_t *buffer;
    size_t used;
};

/* The descriptor stays the caller's. */
int kp_spool_create(struct kp_spool *spool, int fd);
void kp_spool_destroy(struct kp_spool *spool);
void kp_spool_write(struct kp_spool *spool, const void *bytes, size_t n);
void kp_spool_flush(struct kp_spool *spool);

#endif
