/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SHAREOUT_H
#define KPERF_SHAREOUT_H

#include "session.h"

/* Rows of a thread of its own, whose counts are in its root's totals too. */
struct kp_part {
    const struct kp_counts *counts;
    size_t first, len;     /* its rows in counts */
    size_t total;          /* the row in the totals that its first one is a part of */
    struct kp_cell *cells; /* of its rows; NULL: it has ended */
};

/* Takes the parts out of the totals, and gives all rows but those of an event (the one that tells
 * of threads): for each event they add up to exactly what the totals were. A total was read after
 * its parts, but parts may have been in an earlier total already: then they wait for the next. */
int kp_share_out(struct kp_counts *totals, const struct kp_part *parts, size_t n_parts,
                 uint32_t left_out, struct kp_counts **out);

#endif
