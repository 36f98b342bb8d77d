/* SPDX-License-Identifier: Apache-2.0
 * BPF instructions into a buffer, with labels for the jumps. */
#include "bpf_asm.h"

#include "error.h"

#include <errno.h>
#include <string.h>

void kp_asm_start(struct kp_asm *code)
{
    code->len = code->n_labels = code->n_jumps = 0;
    code->broken = 0;
}

static void emit(struct kp_asm *code, int op, int to, int from, int offset, int32_t immediate)
{
    if (code->len == KP_ASM_MOST || offset < INT16_MIN || offset > INT16_MAX) {
        code->broken = 1;
        return;
    }
    code->insns[code->len++] = (struct kp_bpf_insn){.code = (uint8_t)op,
                                                    .registers = (uint8_t)(to | from << 4),
                                                    .offset = (int16_t)offset,
                                                    .immediate = immediate};
}

/* ---- labels ---- */

kp_label kp_asm_label(struct kp_asm *code)
{
    if (code->n_labels == KP_ASM_MOST_LABELS) {
        code->broken = 1;
        return 0;
    }
    code->labels[code->n_labels] = -1;
    return (kp_label)code->n_labels++;
}

void kp_asm_bind(struct kp_asm *code, kp_label label)
{
    if (label >= code->n_labels || code->labels[label] >= 0)
        code->broken = 1;
    else
        code->labels[label] = (int32_t)code->len;
}

static void aim(struct kp_asm *code, kp_label label)
{
    if (code->n_jumps == KP_ASM_MOST_JUMPS || label >= code->n_labels) {
        code->broken = 1;
        return;
    }
    code->jumps[code->n_jumps].at = (uint32_t)code->len;
    code->jumps[code->n_jumps++].label = label;
}

int kp_asm_finish(struct kp_asm *code)
{
    for (size_t i = 0; !code->broken && i < code->n_jumps; i++) {
        uint32_t at = code->jumps[i].at;
        int32_t distance = code->labels[code->jumps[i].label] - (int32_t)at - 1;
        /* An unbound label stands at -1, before every jump; programs here jump forward only. */
        if (distance < 0 || distance > INT16_MAX || at >= code->len)
            code->broken = 1;
        else
            code->insns[at].offset = (int16_t)distance;
    }
    if (code->broken || code->len == 0)
        return kp_fail(KP_E_ARGUMENT, EINVAL, "a BPF program that cannot be assembled");
    return 0;
}

/* ---- instructions ---- */

void kp_asm_mov(struct kp_asm *code, int to, int from)
{
    emit(code, KP_BPF_ALU64 | KP_MOV | KP_BPF_X, to, from, 0, 0);
}

void kp_asm_set(struct kp_asm *code, int to, int32_t value)
{
    emit(code, KP_BPF_ALU64 | KP_MOV, to, 0, 0, value);
}

static void wide(struct kp_asm *code, int to, int kind, uint32_t low, uint32_t high)
{
    emit(code, KP_BPF_LD | KP_W64 | KP_BPF_IMM, to, kind, 0, (int32_t)low);
    emit(code, 0, 0, 0, 0, (int32_t)high);
}

void kp_asm_set64(struct kp_asm *code, int to, uint64_t value)
{
    wide(code, to, 0, (uint32_t)value, (uint32_t)(value >> 32));
}

void kp_asm_map(struct kp_asm *code, int to, int map_fd)
{
    wide(code, to, KP_BPF_PSEUDO_MAP_FD, (uint32_t)map_fd, 0);
}

void kp_asm_map_value(struct kp_asm *code, int to, int map_fd, uint32_t offset)
{
    wide(code, to, KP_BPF_PSEUDO_MAP_VALUE, (uint32_t)map_fd, offset);
}

void kp_asm_alu(struct kp_asm *code, enum kp_bpf_alu op, int to, int from)
{
    emit(code, (int)(KP_BPF_ALU64 | KP_BPF_X) | (int)op, to, from, 0, 0);
}

void kp_asm_alu_by(struct kp_asm *code, enum kp_bpf_alu op, int to, int32_t by)
{
    emit(code, (int)KP_BPF_ALU64 | (int)op, to, 0, 0, by);
}

void kp_asm_load(struct kp_asm *code, enum kp_bpf_width width, int to, int base, int offset)
{
    emit(code, (int)(KP_BPF_LDX | KP_BPF_MEM) | (int)width, to, base, offset, 0);
}

void kp_asm_store(struct kp_asm *code, enum kp_bpf_width width, int base, int offset, int from)
{
    emit(code, (int)(KP_BPF_STX | KP_BPF_MEM) | (int)width, base, from, offset, 0);
}

void kp_asm_store_value(struct kp_asm *code, enum kp_bpf_width width, int base, int offset,
                        int32_t value)
{
    emit(code, (int)(KP_BPF_ST | KP_BPF_MEM) | (int)width, base, 0, offset, value);
}

void kp_asm_atomic_add(struct kp_asm *code, int base, int offset, int from)
{
    emit(code, (int)(KP_BPF_STX | KP_BPF_ATOMIC) | (int)KP_W64, base, from, offset, KP_ADD);
}

void kp_asm_jump(struct kp_asm *code, kp_label label)
{
    aim(code, label);
    emit(code, (int)KP_BPF_JMP | (int)KP_ALWAYS, 0, 0, 0, 0);
}

void kp_asm_if(struct kp_asm *code, int left, enum kp_bpf_condition condition, int right,
               kp_label label)
{
    aim(code, label);
    emit(code, (int)(KP_BPF_JMP | KP_BPF_X) | (int)condition, left, right, 0, 0);
}

void kp_asm_if_value(struct kp_asm *code, int left, enum kp_bpf_condition condition, int32_t right,
                     kp_label label)
{
    aim(code, label);
    emit(code, (int)KP_BPF_JMP | (int)condition, left, 0, 0, right);
}

void kp_asm_if_value32(struct kp_asm *code, int left, enum kp_bpf_condition condition,
                       int32_t right, kp_label label)
{
    aim(code, label);
    emit(code, (int)KP_BPF_JMP32 | (int)condition, left, 0, 0, right);
}

void kp_asm_call(struct kp_asm *code, enum kp_bpf_helper helper)
{
    emit(code, KP_BPF_JMP | KP_BPF_CALL, 0, 0, 0, (int32_t)helper);
}

void kp_asm_exit(struct kp_asm *code)
{
    emit(code, KP_BPF_JMP | KP_BPF_EXIT, 0, 0, 0, 0);
}
