/* SPDX-License-Identifier: Apache-2.0
 * What the records of the rings become: samples in a store, losses by event, side-band bytes. */
#include "intake.h"

#include "error.h"
#include "perf_abi.h"
#include "resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE_BYTES = 1 << 30 };

/* ---- which event a record is of ---- */

static size_t id_slot(const struct kp_ids *table, uint64_t id)
{
    size_t at = (id * 0x9e3779b97f4a7c15u >> 20) & (table->size - 1);
    while (table->ids[at] != 0 && table->ids[at] != id)
        at = (at + 1) & (table->size - 1);
    return at;
}

static void ids_free(struct kp_ids *table)
{
    free(table->ids);
    free(table->events);
}

static int ids_grow(struct kp_ids *table)
{
    struct kp_ids grown = {.size = table->size ? table->size * 2 : 256, .used = table->used};
    grown.ids = calloc(grown.size, sizeof(*grown.ids));
    grown.events = calloc(grown.size, sizeof(*grown.events));
    if (grown.ids == NULL || grown.events == NULL) {
        ids_free(&grown);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the events' numbers");
    }
    for (size_t i = 0; i < table->size; i++) {
        if (table->ids[i] == 0)
            continue;
        size_t at = id_slot(&grown, table->ids[i]);
        grown.ids[at] = table->ids[i];
        grown.events[at] = table->events[i];
    }
    ids_free(table);
    *table = grown;
    return 0;
}

int kp_intake_know(struct kp_intake *intake, uint64_t id, uint32_t event)
{
    struct kp_ids *table = &intake->ids;
    if (table->used * 2 >= table->size) {
        int rc = ids_grow(table);
        if (rc != 0)
            return rc;
    }
    size_t at = id_slot(table, id);
    table->used += table->ids[at] == 0;
    table->ids[at] = id;
    table->events[at] = event;
    return 0;
}

/* The event of an identifier, or -1. */
static int64_t event_of(const struct kp_intake *intake, uint64_t id)
{
    size_t at = id_slot(&intake->ids, id);
    return id == 0 || intake->ids.ids[at] == 0 ? -1 : (int64_t)intake->ids.events[at];
}

/* ---- the fields of a sample ---- */

static uint64_t fixed_period_of(const struct kp_event *event)
{
    return event->flags & (KP_EVENT_FREQUENCY | KP_EVENT_TRACKING) ? 0 : event->period;
}

/* Of a fixed period the record must not tell: asked for it, the kernel samples every single hit of
 * a software event or tracepoint, whatever the period. */
static uint64_t type_of(const struct kp_intake *intake, uint64_t fixed_period)
{
    return fixed_period != 0 ? intake->sample_type & ~(uint64_t)KP_SAMPLE_PERIOD
                             : intake->sample_type;
}

uint64_t kp_intake_sample_type(const struct kp_intake *intake, const struct kp_event *event)
{
    return type_of(intake, fixed_period_of(event));
}

static uint64_t sample_type_of(const struct kp_sampling *sampling)
{
    uint64_t type = KP_SAMPLE_IDENTIFIER | KP_SAMPLE_IP | KP_SAMPLE_TID | KP_SAMPLE_TIME |
                    KP_SAMPLE_CPU | KP_SAMPLE_PERIOD;
    if (sampling->flags & KP_SAMPLING_ADDR)
        type |= KP_SAMPLE_ADDR;
    if (sampling->flags & KP_SAMPLING_CALLCHAIN)
        type |= KP_SAMPLE_CALLCHAIN;
    if (sampling->flags & KP_SAMPLING_RAW)
        type |= KP_SAMPLE_RAW;
    if (sampling->branch_sample_type != 0)
        type |= KP_SAMPLE_BRANCH_STACK;
    return type;
}

/* ---- records ---- */

static int64_t event_of_sample(const struct kp_intake *intake, const uint8_t *record, size_t size)
{
    uint64_t id; /* its first field */
    if (size < sizeof(struct kp_record_header) + sizeof(id))
        return -1;
    memcpy(&id, record + sizeof(struct kp_record_header), sizeof(id));
    return event_of(intake, id);
}

/* The event of a sample, or -1 for one that is malformed. */
static int64_t decode_sample(const struct kp_intake *intake, const uint8_t *record, size_t size,
                             struct kp_sample *out)
{
    int64_t event = event_of_sample(intake, record, size);
    if (event < 0 ||
        kp_record_sample(record, size, type_of(intake, intake->periods[event]), 0, out) != 0)
        return -1;
    if (intake->periods[event] != 0)
        out->period = intake->periods[event];
    return event;
}

static void keep_sample(struct kp_intake *intake, const struct kp_sample *sample, int64_t event)
{
    if (kp_store_add(&intake->taken.store, sample, (uint32_t)event) == 0)
        intake->taken.loss[event].samples++;
    else
        intake->taken.loss[event].dropped++;
}

/* Puts a record behind those in a column of bytes. */
static int append(struct kp_column *records, size_t *used, const uint8_t *record, size_t size)
{
    int rc = kp_column_grow(records, *used + size);
    if (rc != 0)
        return rc;
    memcpy(records->base + *used, record, size);
    *used += size;
    return 0;
}

static void take_sample(struct kp_intake *intake, const uint8_t *record, size_t size)
{
    struct kp_sample sample;
    int64_t event = decode_sample(intake, record, size, &sample);
    if (event < 0) {
        intake->taken.malformed++;
        return;
    }
    if (sample.tid == intake->left_out)
        return; /* ourselves */
    enum kp_choice choice = intake->chosen == NULL
                                ? KP_CHOICE_WANTED
                                : kp_chosen_of(intake->chosen, sample.pid, sample.tid);
    if (choice == KP_CHOICE_WANTED)
        keep_sample(intake, &sample, event);
    else if (choice == KP_CHOICE_UNKNOWN &&
             append(&intake->waiting, &intake->waiting_used, record, size) != 0)
        intake->taken.loss[event].dropped++;
}

/* A birth may be recorded in a ring that was emptied just before it, so those who are still unknown
 * wait for one more read. Then nothing will tell any more. */
void kp_intake_settle(struct kp_intake *intake)
{
    struct kp_record_header header;
    size_t kept = 0;
    for (size_t at = 0; at < intake->waiting_used; at += header.size) {
        const uint8_t *record = intake->waiting.base + at;
        struct kp_sample sample;
        memcpy(&header, record, sizeof(header));
        int64_t event = decode_sample(intake, record, header.size, &sample);
        enum kp_choice choice = kp_chosen_at_last(intake->chosen, sample.pid, sample.tid);
        if (choice == KP_CHOICE_WANTED) {
            keep_sample(intake, &sample, event);
        } else if (choice == KP_CHOICE_UNKNOWN && at >= intake->waited) {
            memmove(intake->waiting.base + kept, record, header.size);
            kept += header.size;
        }
    }
    intake->waiting_used = intake->waited = kept;
    if (intake->chosen != NULL)
        kp_chosen_settle(intake->chosen);
}

static void take_loss(struct kp_intake *intake, uint32_t type, const uint8_t *record, size_t size)
{
    uint64_t time, id;
    if (kp_record_trailer(record, size, &time, &id) != 0) {
        intake->taken.malformed++;
        return;
    }
    uint64_t lost = kp_record_number_lost(record, size);
    int64_t event = event_of(intake, id);
    struct kp_loss *loss = event < 0 ? NULL : &intake->taken.loss[event];
    if (loss == NULL)
        intake->taken.side_lost += lost;
    else if (type == KP_RECORD_LOST)
        loss->lost += lost;
    else if (type == KP_RECORD_LOST_SAMPLES)
        loss->lost_samples += lost;
    else
        loss->throttled++;
}

static void learn_from(struct kp_intake *intake, const uint8_t *record, size_t size)
{
    struct kp_side side;
    if (intake->chosen != NULL && kp_record_side(record, size, &side) == 0 &&
        kp_chosen_learn(intake->chosen, &side) != 0)
        intake->taken.side_lost++;
}

static void take_side(struct kp_taken *taken, const uint8_t *record, size_t size)
{
    if (append(&taken->side, &taken->side_used, record, size) != 0)
        taken->side_lost++;
}

void kp_intake_take(void *context, const uint8_t *record, size_t size)
{
    struct kp_intake *intake = context;
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    switch (header.type) {
    case KP_RECORD_SAMPLE:
        take_sample(intake, record, size);
        break;
    case KP_RECORD_LOST:
    case KP_RECORD_LOST_SAMPLES:
    case KP_RECORD_THROTTLE:
        take_loss(intake, header.type, record, size);
        break;
    case KP_RECORD_UNTHROTTLE:
        break;
    default:
        learn_from(intake, record, size);
        take_side(&intake->taken, record, size);
    }
}

static int tell(const struct kp_taken *taken, struct kp_spaces *spaces)
{
    struct kp_side side;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < taken->side_used;) {
        struct kp_record_header header;
        memcpy(&header, taken->side.base + at, sizeof(header));
        if (kp_record_side(taken->side.base + at, header.size, &side) == 0)
            rc = kp_spaces_add(spaces, &side);
        at += header.size;
    }
    return rc;
}

int kp_taken_finish(struct kp_taken *taken, size_t n_events, struct kp_spaces *spaces,
                    struct kp_samples **out)
{
    int rc = tell(taken, spaces);
    if (rc == 0)
        rc = kp_resolve(&taken->store, spaces, out);
    if (rc != 0)
        return rc;
    (*out)->loss = taken->loss;
    (*out)->n_events = n_events;
    (*out)->side_lost = taken->side_lost;
    (*out)->malformed = taken->malformed;
    taken->loss = NULL;
    return 0;
}

/* ---- creation ---- */

static int create_store(const struct kp_sampling *sampling, struct kp_store *store)
{
    int has_extra = sampling->branch_sample_type != 0 || (sampling->flags & KP_SAMPLING_RAW) != 0;
    int rc = kp_store_create(store, sampling->store_bytes,
                             (sampling->flags & KP_SAMPLING_ADDR) != 0, has_extra);
    store->has_branches =
        sampling->branch_sample_type != 0 && (sampling->flags & KP_SAMPLING_RAW) == 0;
    return rc;
}

int kp_taken_create(const struct kp_intake *intake, struct kp_taken *out)
{
    memset(out, 0, sizeof(*out));
    out->loss = calloc(intake->n_events, sizeof(*out->loss));
    int rc = out->loss == NULL ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a result") : 0;
    if (rc == 0)
        rc = kp_column_create(&out->side, 1, MOST_SIDE_BYTES);
    if (rc == 0)
        rc = create_store(&intake->sampling, &out->store);
    return rc;
}

void kp_taken_destroy(struct kp_taken *taken)
{
    kp_store_destroy(&taken->store);
    kp_column_destroy(&taken->side);
    free(taken->loss);
    taken->loss = NULL;
}

int kp_intake_create(struct kp_intake *intake, const struct kp_event *events, size_t n_events,
                     const struct kp_sampling *sampling)
{
    *intake = (struct kp_intake){
        .sampling = *sampling, .sample_type = sample_type_of(sampling), .n_events = n_events};
    intake->periods = calloc(n_events, sizeof(*intake->periods));
    if (intake->periods == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu events", n_events);
    for (size_t i = 0; i < n_events; i++)
        intake->periods[i] = fixed_period_of(&events[i]);
    int rc = ids_grow(&intake->ids);
    return rc != 0 ? rc : kp_taken_create(intake, &intake->taken);
}

int kp_intake_choose(struct kp_intake *intake, struct kp_chosen *chosen)
{
    intake->chosen = chosen;
    return kp_column_create(&intake->waiting, 1, MOST_SIDE_BYTES);
}

void kp_intake_destroy(struct kp_intake *intake)
{
    kp_taken_destroy(&intake->taken);
    kp_chosen_destroy(intake->chosen);
    kp_column_destroy(&intake->waiting);
    ids_free(&intake->ids);
    free(intake->periods);
    memset(intake, 0, sizeof(*intake));
}
