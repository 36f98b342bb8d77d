/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SYSCALLS_BPF_H
#define KPERF_SYSCALLS_BPF_H

#include "kperf_core.h"

struct kp_bpf_calls;

/* Everything that is there to follow the calls is opened, but not attached to them. KP_INHERIT:
 * the children of pids as well; KP_ENABLE_ON_EXEC: the pids are held commands, followed from their
 * exec on. No cpus: everywhere. */
int kp_bpf_calls_create(const struct kp_call_options *options, const struct kp_target *target,
                        const int32_t *cpus, size_t n_cpus, uint32_t flags,
                        struct kp_bpf_calls **out);
void kp_bpf_calls_destroy(struct kp_bpf_calls *calls);
void kp_bpf_calls_abandon(struct kp_bpf_calls *calls);
int kp_bpf_calls_enable(struct kp_bpf_calls *calls);
int kp_bpf_calls_disable(struct kp_bpf_calls *calls);

/* The calls since the last read; the caller destroys what it gets. */
int kp_bpf_calls_read(struct kp_bpf_calls *calls, struct kp_call_summary **out);

#endif
