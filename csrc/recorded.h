/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_RECORDED_H
#define KPERF_RECORDED_H

#include "kperf_core.h"

#include <stddef.h>
#include <stdint.h>

/* Most bytes that a record may have. */
enum { KP_RECORD_MOST = UINT16_MAX };

/* How the records of a recording are laid out, whoever made it. */
struct kp_layout {
    const struct kp_recorded_event *events;
    size_t n_events;
    uint32_t sampling_flags; /* what of a sample is kept: KP_SAMPLING_*, KP_RECORDED_BRANCHES */
};

enum { KP_RECORDED_BRANCHES = 1 << 8 };

/* A record in the layout that the core itself asks the kernel for, which is what the intake reads.
 * Returns its size; 0 for one that tells nothing about samples or processes; -1 for one that is
 * shorter than what it says it holds, or of no event. out has room for KP_RECORD_MOST bytes. */
int64_t kp_recorded_translate(const struct kp_layout *layout, const uint8_t *record, size_t size,
                              uint8_t *out);

#endif
