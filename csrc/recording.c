/* SPDX-License-Identifier: Apache-2.0
 * Samples of a recording, taken in as if they came from rings. */
#include "error.h"
#include "intake.h"
#include "perf_abi.h"
#include "recorded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kp_recording {
    struct kp_layout layout;
    struct kp_recorded_event *events; /* with numbers of their own behind them */
    uint64_t *ids;
    struct kp_intake intake;
    struct kp_spaces *spaces;
    uint8_t record[KP_RECORD_MOST];
};

/* ---- creation ---- */

static int copy_events(struct kp_recording *recording, const struct kp_recorded_event *events,
                       size_t n_events)
{
    size_t n_ids = 0, used = 0;
    for (size_t i = 0; i < n_events; i++)
        n_ids += events[i].n_ids;
    recording->events = calloc(n_events, sizeof(*events));
    recording->ids = calloc(n_ids + 1, sizeof(*recording->ids));
    if (recording->events == NULL || recording->ids == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu events", n_events);
    memcpy(recording->events, events, n_events * sizeof(*events));
    for (size_t i = 0; i < n_events; i++) {
        recording->events[i].ids = recording->ids + used;
        if (events[i].n_ids != 0)
            memcpy(recording->ids + used, events[i].ids, events[i].n_ids * sizeof(uint64_t));
        used += events[i].n_ids;
    }
    recording->layout.events = recording->events;
    recording->layout.n_events = n_events;
    return 0;
}

/* The events by the numbers that translated records carry. */
static int create_intake(struct kp_recording *recording, const struct kp_sampling *sampling)
{
    size_t n_events = recording->layout.n_events;
    struct kp_event *events = calloc(n_events, sizeof(*events));
    if (events == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu events", n_events);
    for (size_t i = 0; i < n_events; i++) {
        events[i].period = recording->events[i].period;
        events[i].flags = events[i].period == 0 ? KP_EVENT_FREQUENCY : 0;
    }
    int rc = kp_intake_create(&recording->intake, events, n_events, sampling);
    free(events);
    recording->intake.left_out = -2; /* nobody: -1 is who has just ended */
    for (size_t i = 0; rc == 0 && i < n_events; i++)
        rc = kp_intake_know(&recording->intake, i + 1, (uint32_t)i);
    return rc;
}

int kp_recording_create(const struct kp_recorded_event *events, size_t n_events,
                        const struct kp_sampling *sampling, struct kp_recording **out)
{
    if (n_events == 0)
        return kp_fail(KP_E_ARGUMENT, 0, "a recording has at least one event");
    struct kp_recording *recording = calloc(1, sizeof(*recording));
    if (recording == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a recording");
    recording->layout.sampling_flags =
        sampling->flags | (sampling->branch_sample_type != 0 ? KP_RECORDED_BRANCHES : 0);
    int rc = copy_events(recording, events, n_events);
    if (rc == 0)
        rc = create_intake(recording, sampling);
    if (rc == 0)
        rc = kp_spaces_create(&recording->spaces);
    if (rc != 0) {
        kp_recording_destroy(recording);
        return rc;
    }
    *out = recording;
    return 0;
}

void kp_recording_destroy(struct kp_recording *recording)
{
    if (recording == NULL)
        return;
    kp_intake_destroy(&recording->intake);
    kp_spaces_destroy(recording->spaces);
    free(recording->events);
    free(recording->ids);
    free(recording);
}

/* ---- use ---- */

/* Types from here on are of those who write recordings, not of the kernel. */
enum { FIRST_OF_WRITERS = 64 };

int kp_recording_feed(struct kp_recording *recording, const uint8_t *bytes, size_t size,
                      size_t *used, uint32_t *stopped_at)
{
    size_t at = 0;
    *stopped_at = 0;
    while (size - at >= sizeof(struct kp_record_header)) {
        struct kp_record_header header;
        memcpy(&header, bytes + at, sizeof(header));
        if (header.type >= FIRST_OF_WRITERS) {
            *stopped_at = header.type;
            break;
        }
        if (header.size < sizeof(header)) {
            *used = at;
            return kp_fail(KP_E_ARGUMENT, 0, "a record has %u bytes, which none can have",
                           header.size);
        }
        if (header.size > size - at)
            break;
        int64_t translated =
            kp_recorded_translate(&recording->layout, bytes + at, header.size, recording->record);
        if (translated > 0)
            kp_intake_take(&recording->intake, recording->record, (size_t)translated);
        else if (translated < 0)
            recording->intake.taken.malformed++;
        at += header.size;
    }
    *used = at;
    return 0;
}

int kp_recording_finish(struct kp_recording *recording, struct kp_samples **out)
{
    struct kp_taken fresh;
    int rc = kp_taken_create(&recording->intake, &fresh);
    if (rc != 0)
        return rc;
    struct kp_taken taken = recording->intake.taken;
    recording->intake.taken = fresh;
    rc = kp_taken_finish(&taken, recording->intake.n_events, recording->spaces, out);
    kp_taken_destroy(&taken);
    return rc;
}
