/* SPDX-License-Identifier: Apache-2.0
 * SPE streams that were recorded before: from a buffer, or with the side-band of a perf.data. */
#include "error.h"
#include "intake.h"
#include "perf_abi.h"
#include "spe_result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kp_spe_decoding {
    struct kp_intake intake;
    struct kp_spe_intake spe;
    struct kp_spaces *spaces;
};

int kp_spe_decoding_create(const struct kp_spe_options *options, uint64_t store_bytes,
                           size_t n_cpus, struct kp_spe_decoding **out)
{
    struct kp_spe_decoding *decoding = calloc(1, sizeof(*decoding));
    struct kp_event event = {.period = options->period};
    struct kp_sampling sampling = {.flags = KP_SAMPLING_RAW, .store_bytes = store_bytes};
    if (decoding == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory to decode with");
    int rc = kp_intake_create(&decoding->intake, &event, 1, &sampling);
    if (rc == 0)
        rc = kp_spe_intake_create(&decoding->spe, options, n_cpus, 0);
    if (rc == 0)
        rc = kp_spaces_create(&decoding->spaces);
    if (rc != 0) {
        kp_spe_decoding_destroy(decoding);
        return rc;
    }
    *out = decoding;
    return 0;
}

void kp_spe_decoding_destroy(struct kp_spe_decoding *decoding)
{
    if (decoding == NULL)
        return;
    kp_intake_destroy(&decoding->intake);
    kp_spe_intake_destroy(&decoding->spe);
    kp_spaces_destroy(decoding->spaces);
    free(decoding);
}

void kp_spe_decoding_clock(struct kp_spe_decoding *decoding, const struct kp_spe_clock *clock)
{
    decoding->spe.clock = *clock;
}

int kp_spe_decoding_record(struct kp_spe_decoding *decoding, const uint8_t *record, size_t size)
{
    struct kp_record_header header;
    if (size < sizeof(header))
        return kp_fail(KP_E_ARGUMENT, 0, "a record of %zu bytes", size);
    memcpy(&header, record, sizeof(header));
    if (header.size != size)
        return kp_fail(KP_E_ARGUMENT, 0, "a record of %zu bytes that says %u", size, header.size);
    if (header.type == KP_RECORD_AUX)
        kp_spe_report_aux(&decoding->spe.report, record, size);
    else if (!kp_spe_intake_side(&decoding->spe, record, size))
        kp_intake_take(&decoding->intake, record, size);
    return 0;
}

void kp_spe_decoding_aux(struct kp_spe_decoding *decoding, int32_t cpu, uint64_t offset,
                         const uint8_t *bytes, size_t size)
{
    struct kp_spe_chunk chunk = {.cpu = cpu, .pid = -1, .tid = -1, .offset = offset};
    struct kp_taken *taken = &decoding->intake.taken;
    kp_spe_intake_aux(&decoding->spe, &chunk, bytes, size, &taken->store, taken->loss);
}

int kp_spe_decoding_finish(struct kp_spe_decoding *decoding, struct kp_samples **out)
{
    struct kp_taken *taken = &decoding->intake.taken;
    for (size_t i = 0; i < decoding->spe.n_cpus; i++)
        kp_spe_finish(&decoding->spe.cpus[i].decoder);
    struct kp_spe_taken spe;
    int rc = kp_spe_take(&decoding->spe, &spe);
    if (rc == 0)
        rc = kp_taken_finish(taken, 1, decoding->spaces, out);
    if (rc != 0) {
        kp_store_destroy(&spe.sums);
        return rc;
    }
    rc = kp_spe_tell(&spe, decoding->spaces, *out);
    if (rc != 0)
        kp_samples_destroy(*out);
    return rc;
}
