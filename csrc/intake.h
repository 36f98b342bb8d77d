/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_INTAKE_H
#define KPERF_INTAKE_H

#include "chosen.h"
#include "kperf_core.h"
#include "space.h"
#include "store.h"

#include <sys/types.h>

/* What was taken since the last read. */
struct kp_taken {
    struct kp_store store;
    struct kp_column side; /* side-band records as they came, decoded when they are needed */
    size_t side_used;
    struct kp_loss *loss; /* one an event */
    uint64_t side_lost;
    uint64_t malformed;
};

/* Which event each kernel identifier stands for. */
struct kp_ids {
    uint64_t *ids; /* 0: free */
    uint32_t *events;
    size_t size, used; /* a power of two */
};

struct kp_intake {
    struct kp_sampling sampling;
    uint64_t sample_type;
    uint64_t *periods; /* one an event: 0 where each sample tells its own */
    size_t n_events;
    pid_t left_out; /* a thread of ours: its samples are nobody's */
    struct kp_ids ids;
    struct kp_taken taken;
    struct kp_chosen *chosen; /* NULL: every sample is wanted */
    struct kp_column waiting; /* records of samples of which it is not known whose they are */
    size_t waiting_used;
    size_t waited; /* of these bytes, those that waited for the last read already */
};

int kp_intake_create(struct kp_intake *intake, const struct kp_event *events, size_t n_events,
                     const struct kp_sampling *sampling);
void kp_intake_destroy(struct kp_intake *intake);

/* The fields of an event's samples, for its attributes and for reading its records. */
uint64_t kp_intake_sample_type(const struct kp_intake *intake, const struct kp_event *event);

/* From now on records with this identifier are the event's. */
int kp_intake_know(struct kp_intake *intake, uint64_t id, uint32_t event);

/* Only samples of these are kept from now on. The intake frees it. */
int kp_intake_choose(struct kp_intake *intake, struct kp_chosen *chosen);

/* Once all rings are empty: finds out whose the samples are that wait for it. */
void kp_intake_settle(struct kp_intake *intake);

/* Takes a record, whatever it holds; a kp_record_fn. */
void kp_intake_take(void *intake, const uint8_t *record, size_t size);

int kp_taken_create(const struct kp_intake *intake, struct kp_taken *out);
void kp_taken_destroy(struct kp_taken *taken);

/* Has the spaces learn what the side-band tells, and makes a result of the samples. */
int kp_taken_finish(struct kp_taken *taken, size_t n_events, struct kp_spaces *spaces,
                    struct kp_samples **out);

#endif
