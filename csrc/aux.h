/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_AUX_H
#define KPERF_AUX_H

#include "clocks.h"
#include "intake.h"
#include "ring.h"
#include "session.h"
#include "spe_result.h"
#include "spool.h"

#include <pthread.h>

/* The AUX area of a CPU's ring. */
struct kp_aux_area {
    uint8_t *base; /* NULL: none */
    uint8_t *control;
    uint64_t size;
    uint64_t tail; /* what was taken, in bytes since the opening */
};

/* What a sampler with an SPE event has beside its rings. All of it is under the drain's lock. */
struct kp_aux {
    struct kp_spe_intake spe;
    struct kp_aux_area *areas; /* one a CPU */
    size_t n_areas;
    uint64_t smallest;
    struct kp_clocks clocks;
    struct kp_spool spool;
    struct kp_session *session;
    pthread_mutex_t switching; /* held while the event is switched on or off */
    int enabled;
};

/* `event` is the number of the SPE event among the session's. */
int kp_aux_create(const struct kp_spe_options *options, size_t n_cpus, uint32_t event,
                  struct kp_aux **out);
void kp_aux_destroy(struct kp_aux *aux);

/* Makes an event's attributes those of a session with SPE. */
void kp_aux_prepare(const struct kp_event *event, struct kp_attr *attr);

/* The session is open, and the kernel may switch it on by itself. */
void kp_aux_attach(struct kp_aux *aux, struct kp_session *session, int enabled);

/* Maps the AUX area of a CPU through an event that writes into it; once a CPU. */
int kp_aux_map(struct kp_aux *aux, int32_t cpu, int fd, const struct kp_ring *ring);

/* Takes what a record of the ring tells of SPE. Returns 1 where it tells nothing else. */
int kp_aux_take(struct kp_aux *aux, struct kp_taken *taken, const uint8_t *record, size_t size);

/* Switches the session on or off; what became full is not switched on again once it is off. */
int kp_aux_switch(struct kp_aux *aux, int on);

/* What a read takes out of it under the drain's lock. */
struct kp_aux_taken {
    struct kp_spe_taken spe;
    struct kp_clocks clocks;
};

int kp_aux_take_all(struct kp_aux *aux, struct kp_aux_taken *out);
void kp_aux_taken_destroy(struct kp_aux_taken *taken);

/* Adds it to the read's result, whose times become CLOCK_MONOTONIC. */
int kp_aux_tell(struct kp_aux_taken *taken, struct kp_spaces *spaces, struct kp_samples *samples);

#endif
