/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPE_INTAKE_H
#define KPERF_SPE_INTAKE_H

#include "spe.h"
#include "spe_tally.h"

/* Which task a CPU runs from a time on. */
struct kp_turn {
    uint64_t time;
    int32_t pid;
    int32_t tid;
};

/* Tasks by thread number. */
struct kp_pids {
    int32_t *tids; /* 0: free */
    int32_t *pids;
    size_t size, used; /* a power of two */
};

struct kp_spe_cpu {
    struct kp_spe_decoder decoder;
    struct kp_turn *turns; /* in order of time */
    size_t n_turns, room;
    uint64_t time; /* of the last record */
};

/* Bytes of an AUX area, and what the record that told of them knows. */
struct kp_spe_chunk {
    int32_t cpu;
    int32_t pid; /* who ran when the record was written; -1: not known */
    int32_t tid;
    uint64_t time;   /* of the record, for what has no time of its own */
    uint64_t offset; /* in the AUX area */
};

/* SPE streams of many CPUs become rows in a store, or sums. */
struct kp_spe_intake {
    struct kp_spe_options options;
    struct kp_spe_clock clock;
    struct kp_spe_cpu *cpus;
    size_t n_cpus;
    struct kp_pids pids;
    struct kp_spe_tallies tallies;
    struct kp_spe_report report;
    uint32_t event;
    int live; /* tasks that no record told of may be asked for in /proc */
};

int kp_spe_intake_create(struct kp_spe_intake *intake, const struct kp_spe_options *options,
                         size_t n_cpus, uint32_t event);
void kp_spe_intake_destroy(struct kp_spe_intake *intake);

/* Learns from a side-band record who is who and who runs where. Returns 1 for a record that tells
 * nothing else. */
int kp_spe_intake_side(struct kp_spe_intake *intake, const uint8_t *record, size_t size);

/* Decodes bytes; rows go to `rows`, and what has no room there or in the sums is counted in `loss`.
 * The chunks of a CPU come in order. */
void kp_spe_intake_aux(struct kp_spe_intake *intake, const struct kp_spe_chunk *chunk,
                       const uint8_t *bytes, size_t n, struct kp_store *rows, struct kp_loss *loss);

/* Forgets who ran on a CPU before the present task. */
void kp_spe_intake_settle(struct kp_spe_intake *intake, int32_t cpu);

/* The report since the last call. */
struct kp_spe_report kp_spe_intake_report(struct kp_spe_intake *intake);

/* A value of the generic timer in ns of the perf clock. */
uint64_t kp_spe_to_ns(const struct kp_spe_clock *clock, uint64_t ticks);

#endif
