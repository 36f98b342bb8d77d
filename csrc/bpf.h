/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_BPF_H
#define KPERF_BPF_H

#include "bpf_asm.h"
#include "kperf_core.h"

#include <stddef.h>
#include <stdint.h>

struct kp_bpf_map {
    int fd; /* -1: none */
    uint32_t key_size;
    uint32_t value_size;
    uint32_t max_items;
};

int kp_bpf_map_create(const char *name, enum kp_bpf_map_type type, uint32_t key_size,
                      uint32_t value_size, uint32_t max_items, struct kp_bpf_map *out);
void kp_bpf_map_close(struct kp_bpf_map *map);

/* An array of one value that both sides see as memory. The caller unmaps it. */
int kp_bpf_memory_create(const char *name, size_t bytes, struct kp_bpf_map *out, void **memory);

/* A map of the same shape, held in an array: putting it there waits for programs that run. */
struct kp_bpf_barrier {
    int inner;
    int outer;
};

int kp_bpf_barrier_create(struct kp_bpf_barrier *out);
void kp_bpf_barrier_close(struct kp_bpf_barrier *barrier);
/* Returns when every program that was running on any CPU has come to its end. */
int kp_bpf_barrier_wait(const struct kp_bpf_barrier *barrier);

/* The calls of bpf(2) on items return -1 with errno. */
int kp_bpf_map_get(const struct kp_bpf_map *map, const void *key, void *value);
int kp_bpf_map_put(const struct kp_bpf_map *map, const void *key, const void *value);
int kp_bpf_map_remove(const struct kp_bpf_map *map, const void *key);

/* Hands every item to `take`, which may remove it. */
int kp_bpf_map_each(const struct kp_bpf_map *map,
                    int (*take)(void *context, const void *key, const void *value), void *context);

/* attach_id: what a tracing program is attached to, of the kernel's types; else 0. */
int kp_bpf_load(const char *name, enum kp_bpf_prog_type type, uint32_t attach_id,
                const struct kp_asm *code, int *out);
/* Runs the program until the descriptor is closed. */
int kp_bpf_attach(const char *name, int program, int *out);
/* Runs it once, on this thread. */
int kp_bpf_run_once(int program, uint32_t *returned);
uint64_t kp_bpf_missed(int program);

/* 0 if BPF programs that trace may be loaded here; else the error says why not. */
int kp_bpf_probe(void);

#endif
