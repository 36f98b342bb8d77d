/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPE_TALLY_H
#define KPERF_SPE_TALLY_H

#include "store.h"
#include "tally.h"

/* An SPE record with the task and the time that it is of. */
struct kp_spe_sample {
    const struct kp_spe_record *record;
    uint64_t time;
    int32_t pid;
    int32_t tid;
    int32_t cpu;
};

/* SPE records added up while they come, in memory that does not grow with their number: by
 * instruction and what happened to it, and by the cache line that they touched. */
struct kp_spe_tallies {
    struct kp_tally cells;
    struct kp_tally lines;
    uint64_t lines_dropped; /* accesses to lines that were forgotten */
};

/* `lines`: whether cache lines are added up as well. */
int kp_spe_tallies_create(struct kp_spe_tallies *tallies, int lines);
void kp_spe_tallies_destroy(struct kp_spe_tallies *tallies);

/* 0, or KP_E_NOMEM where there is no room for another instruction. */
int kp_spe_tallies_add(struct kp_spe_tallies *tallies, const struct kp_spe_sample *sample);

/* Moves all sums into a store, as samples whose raw bytes are struct kp_spe_cell or
 * struct kp_spe_line. */
int kp_spe_tallies_move(struct kp_spe_tallies *tallies, uint64_t period, uint32_t event,
                        struct kp_store *store);

/* Whose address space a program counter is in: KP_MISC_KERNEL or KP_MISC_USER. */
uint32_t kp_spe_mode(uint8_t level);

#endif
