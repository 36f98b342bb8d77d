/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_CHOSEN_H
#define KPERF_CHOSEN_H

#include "kperf_core.h"
#include "record.h"

/* Whose samples are kept where all CPUs are sampled for the sake of some processes or threads. */
struct kp_chosen;

/* UNKNOWN: born where nobody has told of it yet; the record of its birth lies in another ring. */
enum kp_choice { KP_CHOICE_UNKNOWN, KP_CHOICE_OTHER, KP_CHOICE_WANTED };

/* The target's own, either processes or threads; with `inherits` also who is born of them. */
int kp_chosen_create(const struct kp_target *target, int inherits, struct kp_chosen **out);
void kp_chosen_destroy(struct kp_chosen *chosen);

/* Learns of everybody else who lives. To be called when births are recorded already. */
int kp_chosen_list_others(struct kp_chosen *chosen);

/* Learns of a birth or an end; other records tell nothing. */
int kp_chosen_learn(struct kp_chosen *chosen, const struct kp_side *side);

/* While records come: of a number whose holder has ended, the next holder may be another one. */
enum kp_choice kp_chosen_of(const struct kp_chosen *chosen, int32_t pid, int32_t tid);

/* Once the records of all rings are learned. */
enum kp_choice kp_chosen_at_last(const struct kp_chosen *chosen, int32_t pid, int32_t tid);

/* A read is over, and all rings were empty: forgets those who ended before the read before. */
void kp_chosen_settle(struct kp_chosen *chosen);

#endif
