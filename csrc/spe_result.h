/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPE_RESULT_H
#define KPERF_SPE_RESULT_H

#include "resolve.h"
#include "spe_intake.h"

/* Counts what the flags of a PERF_RECORD_AUX tell. */
void kp_spe_report_aux(struct kp_spe_report *report, const uint8_t *record, size_t size);

/* The sums and the report of an intake since the last read. */
struct kp_spe_taken {
    struct kp_store sums; /* empty where nothing is added up */
    struct kp_spe_report report;
    int has_sums;
};

/* Takes them out of an intake, which goes on. */
int kp_spe_take(struct kp_spe_intake *intake, struct kp_spe_taken *out);

/* Adds them to a read's result, resolved as samples are; they are used up. */
int kp_spe_tell(struct kp_spe_taken *taken, struct kp_spaces *spaces, struct kp_samples *samples);

#endif
