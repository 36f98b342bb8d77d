/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPE_H
#define KPERF_SPE_H

#include "kperf_core.h"

enum { KP_SPE_LONGEST = 16 }; /* bytes of the longest packet, an alignment */

typedef void kp_spe_fn(void *context, const struct kp_spe_record *record);

/* One stream of packets, as it comes in chunks: a packet or a record may be cut by the end of one.
 */
struct kp_spe_decoder {
    struct kp_spe_record record; /* as far as it has come */
    uint8_t carry[KP_SPE_LONGEST];
    size_t n_carry;
    uint64_t next; /* offset in the AUX area behind what was fed */
    struct kp_spe_stats stats;
};

/* Decodes the next chunk, which stands at `offset` of the AUX area; `take` gets every record that
 * it completes. Where the chunk does not follow the one before, a record begun there is lost. */
void kp_spe_feed(struct kp_spe_decoder *decoder, uint64_t offset, const uint8_t *bytes, size_t n,
                 kp_spe_fn *take, void *context);

/* The stream ends here: what is incomplete is counted and forgotten. */
void kp_spe_finish(struct kp_spe_decoder *decoder);

#endif
