/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_DESCRIPTORS_H
#define KPERF_DESCRIPTORS_H

#include <stdint.h>

/* Makes room for `more` descriptors beside those open now, or says how many were needed. */
int kp_descriptors_reserve(uint64_t more);

/* The same, leaving some to the host program. */
int kp_descriptors_reserve_spare(uint64_t more);

/* Sets the error for a kernel that ran out while `needed` were to be open. */
int kp_descriptors_exhausted(int sys_errno, uint64_t needed);

/* Moves fd out of the range that select() can serve; where that fails it stays as it is. */
int kp_descriptor_lift(int fd);

#endif
