/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as the records of a recording, in any layout. The first 32 bytes choose the layout. */
#include "kperf_core.h"

#include <stdlib.h>
#include <string.h>

enum { STORE_BYTES = 1 << 20, HEAD = 32, MOST_PARTS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds all of it, passing over what is not the kernel's as a reader of files does. */
static void feed(struct kp_recording *recording, const uint8_t *bytes, size_t size)
{
    for (int part = 0; part < MOST_PARTS && size > 0; part++) {
        uint8_t *exact = malloc(size);
        size_t used = 0;
        uint32_t stopped_at = 0;
        if (exact == NULL)
            return;
        memcpy(exact, bytes, size);
        int rc = kp_recording_feed(recording, exact, size, &used, &stopped_at);
        free(exact);
        if (rc != 0 || used > size)
            return;
        uint64_t passed = used + (stopped_at != 0 ? 8 : size - used);
        if (passed > size)
            return;
        bytes += passed;
        size -= passed;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t ids[] = {1, 2, 3};
    struct kp_recorded_event events[2] = {{.ids = ids, .n_ids = 2}, {.ids = ids + 2, .n_ids = 1}};
    struct kp_sampling sampling = {.store_bytes = STORE_BYTES};
    struct kp_recording *recording;
    struct kp_samples *samples;
    if (size < HEAD)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        memcpy(&events[i].sample_type, data, 8);
        memcpy(&events[i].read_format, data + 8, 8);
        memcpy(&events[i].branch_sample_type, data + 16, 8);
        events[i].sample_id_all = data[24] & 1;
        events[i].build_id = data[24] >> 1 & 1;
        events[i].period = data[25] * i;
    }
    sampling.flags = data[26] & 7;
    sampling.branch_sample_type = data[27] & 1;
    if (kp_recording_create(events, data[28] & 1 ? 2 : 1, &sampling, &recording) != 0)
        return 0;
    feed(recording, data + HEAD, size - HEAD);
    if (kp_recording_finish(recording, &samples) == 0)
        kp_samples_destroy(samples);
    kp_recording_destroy(recording);
    return 0;
}
