/* SPDX-License-Identifier: Apache-2.0
 * What an SPE intake adds to the result of a read: its sums, resolved as samples are, and what went
 * wrong. */
#include "spe_result.h"

#include "perf_abi.h"

#include <stddef.h>
#include <string.h>

/* Memory for a sum: its columns, its node of a stack, and its raw bytes. */
enum { ROW_BYTES = 256 };

static const struct {
    uint64_t flag;
    size_t counter; /* offset in struct kp_spe_report */
} aux_flags[] = {
    {KP_AUX_TRUNCATED, offsetof(struct kp_spe_report, truncated)},
    {KP_AUX_PARTIAL, offsetof(struct kp_spe_report, partial)},
    {KP_AUX_COLLISION, offsetof(struct kp_spe_report, collisions)},
};

void kp_spe_report_aux(struct kp_spe_report *report, const uint8_t *record, size_t size)
{
    struct kp_record_aux aux;
    if (size < sizeof(aux))
        return;
    memcpy(&aux, record, sizeof(aux));
    for (size_t i = 0; i < sizeof(aux_flags) / sizeof(aux_flags[0]); i++)
        if (aux.flags & aux_flags[i].flag)
            ++*(uint64_t *)((char *)report + aux_flags[i].counter);
}

int kp_spe_take(struct kp_spe_intake *intake, struct kp_spe_taken *out)
{
    struct kp_spe_tallies *tallies = &intake->tallies;
    size_t rows = tallies->cells.n + tallies->lines.n;
    memset(out, 0, sizeof(*out));
    out->report = kp_spe_intake_report(intake);
    out->has_sums = (intake->options.flags & KP_SPE_SUMS) != 0;
    if (!out->has_sums)
        return 0;
    int rc = kp_store_create(&out->sums, (rows + 1) * ROW_BYTES, 0, 1);
    if (rc == 0)
        rc = kp_spe_tallies_move(tallies, intake->options.period, intake->event, &out->sums);
    if (rc != 0)
        kp_store_destroy(&out->sums);
    return rc;
}

int kp_spe_tell(struct kp_spe_taken *taken, struct kp_spaces *spaces, struct kp_samples *samples)
{
    samples->spe = taken->report;
    return taken->has_sums ? kp_resolve(&taken->sums, spaces, &samples->sums) : 0;
}
