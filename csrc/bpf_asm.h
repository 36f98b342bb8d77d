/* SPDX-License-Identifier: Apache-2.0
 *
 * A small assembler for BPF programs. Nothing in it fails on its own: what does not fit, or jumps
 * to nowhere, is told by kp_asm_finish. */
#ifndef KPERF_BPF_ASM_H
#define KPERF_BPF_ASM_H

#include "bpf_abi.h"

#include <stddef.h>

/* r0: what a call returns; r1 to r5: its arguments, which it destroys; r6 to r9 survive it; r10:
 * the end of the 512 bytes of stack. */
enum kp_register { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 };

enum { KP_ASM_MOST = 1024, KP_ASM_MOST_LABELS = 96, KP_ASM_MOST_JUMPS = 256 };

struct kp_asm {
    struct kp_bpf_insn insns[KP_ASM_MOST];
    size_t len;
    int32_t labels[KP_ASM_MOST_LABELS]; /* where each stands; -1: not yet */
    size_t n_labels;
    struct {
        uint32_t at;
        uint32_t label;
    } jumps[KP_ASM_MOST_JUMPS];
    size_t n_jumps;
    int broken; /* something did not fit */
};

typedef uint32_t kp_label;

void kp_asm_start(struct kp_asm *code);

/* All labels bound, all jumps aimed: 0, else KP_E_ARGUMENT. */
int kp_asm_finish(struct kp_asm *code);

kp_label kp_asm_label(struct kp_asm *code);
void kp_asm_bind(struct kp_asm *code, kp_label label); /* it stands here */

void kp_asm_mov(struct kp_asm *code, int to, int from);
void kp_asm_set(struct kp_asm *code, int to, int32_t value);
void kp_asm_set64(struct kp_asm *code, int to, uint64_t value);
void kp_asm_map(struct kp_asm *code, int to, int map_fd);
/* An address within the only value of an array. */
void kp_asm_map_value(struct kp_asm *code, int to, int map_fd, uint32_t offset);
void kp_asm_alu(struct kp_asm *code, enum kp_bpf_alu op, int to, int from);
void kp_asm_alu_by(struct kp_asm *code, enum kp_bpf_alu op, int to, int32_t by);
void kp_asm_load(struct kp_asm *code, enum kp_bpf_width width, int to, int base, int offset);
void kp_asm_store(struct kp_asm *code, enum kp_bpf_width width, int base, int offset, int from);
void kp_asm_store_value(struct kp_asm *code, enum kp_bpf_width width, int base, int offset,
                        int32_t value);
void kp_asm_atomic_add(struct kp_asm *code, int base, int offset, int from); /* 64 bits */
void kp_asm_jump(struct kp_asm *code, kp_label label);
void kp_asm_if(struct kp_asm *code, int left, enum kp_bpf_condition condition, int right,
               kp_label label);
void kp_asm_if_value(struct kp_asm *code, int left, enum kp_bpf_condition condition, int32_t right,
                     kp_label label);
/* The same for the lower 32 bits. */
void kp_asm_if_value32(struct kp_asm *code, int left, enum kp_bpf_condition condition,
                       int32_t right, kp_label label);
void kp_asm_call(struct kp_asm *code, enum kp_bpf_helper helper);
void kp_asm_exit(struct kp_asm *code);

#endif
