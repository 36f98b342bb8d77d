/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of bpf(2) and of the instruction set that the core uses, declared here because the
 * headers of distributions lag behind their kernels. Source: bpf(2), linux/bpf.h. A kernel accepts
 * an attribute that is longer than its own as long as the rest of it is zero. */
#ifndef KPERF_BPF_ABI_H
#define KPERF_BPF_ABI_H

#include <stdint.h>

struct kp_bpf_insn {
    uint8_t code;
    uint8_t registers; /* destination in the low four bits, source in the high ones */
    int16_t offset;
    int32_t immediate;
};

/* ---- instructions: class | operation or size | source or mode ---- */

enum {
    KP_BPF_LD = 0x00,
    KP_BPF_LDX = 0x01,
    KP_BPF_ST = 0x02,
    KP_BPF_STX = 0x03,
    KP_BPF_JMP = 0x05,
    KP_BPF_JMP32 = 0x06,
    KP_BPF_ALU64 = 0x07,
    KP_BPF_IMM = 0x00,
    KP_BPF_MEM = 0x60,
    KP_BPF_ATOMIC = 0xc0,
    KP_BPF_X = 0x08, /* the operand is a register */
    KP_BPF_CALL = 0x80,
    KP_BPF_EXIT = 0x90
};

/* Widths of loads and stores. */
enum kp_bpf_width { KP_W32 = 0x00, KP_W16 = 0x08, KP_W8 = 0x10, KP_W64 = 0x18 };

enum kp_bpf_alu {
    KP_ADD = 0x00,
    KP_SUB = 0x10,
    KP_MUL = 0x20,
    KP_OR = 0x40,
    KP_AND = 0x50,
    KP_LSH = 0x60,
    KP_RSH = 0x70,
    KP_XOR = 0xa0,
    KP_MOV = 0xb0,
    KP_ARSH = 0xc0
};

enum kp_bpf_condition {
    KP_ALWAYS = 0x00,
    KP_IF_EQ = 0x10,
    KP_IF_GT = 0x20,
    KP_IF_GE = 0x30,
    KP_IF_SET = 0x40, /* left & right */
    KP_IF_NE = 0x50,
    KP_IF_SGT = 0x60,
    KP_IF_SGE = 0x70,
    KP_IF_LT = 0xa0,
    KP_IF_LE = 0xb0,
    KP_IF_SLT = 0xc0,
    KP_IF_SLE = 0xd0
};

enum { KP_BPF_PSEUDO_MAP_FD = 1, KP_BPF_PSEUDO_MAP_VALUE = 2 };

enum kp_bpf_helper {
    KP_BPF_MAP_LOOKUP = 1,
    KP_BPF_MAP_UPDATE = 2,
    KP_BPF_MAP_DELETE = 3,
    KP_BPF_KTIME_GET_NS = 5,
    KP_BPF_GET_SMP_PROCESSOR_ID = 8,
    KP_BPF_GET_CURRENT_PID_TGID = 14,
    KP_BPF_GET_CURRENT_TASK = 35,
    KP_BPF_PROBE_READ_KERNEL = 113,
    KP_BPF_GET_NS_CURRENT_PID_TGID = 120,
    KP_BPF_GET_CURRENT_TASK_BTF = 158
};

/* ---- bpf(2) ---- */

enum kp_bpf_command {
    KP_BPF_CMD_MAP_CREATE = 0,
    KP_BPF_CMD_MAP_LOOKUP = 1,
    KP_BPF_CMD_MAP_UPDATE = 2,
    KP_BPF_CMD_MAP_DELETE = 3,
    KP_BPF_CMD_MAP_NEXT_KEY = 4,
    KP_BPF_CMD_PROG_LOAD = 5,
    KP_BPF_CMD_PROG_TEST_RUN = 10,
    KP_BPF_CMD_OBJ_INFO = 15,
    KP_BPF_CMD_RAW_TRACEPOINT_OPEN = 17,
    KP_BPF_CMD_MAP_LOOKUP_BATCH = 24
};

enum kp_bpf_map_type { KP_BPF_HASH = 1, KP_BPF_ARRAY = 2, KP_BPF_ARRAY_OF_MAPS = 12 };

enum { KP_BPF_F_MMAPABLE = 1 << 10 };

enum kp_bpf_prog_type { KP_BPF_RAW_TRACEPOINT = 17, KP_BPF_TRACING = 26 };

enum { KP_BPF_TRACE_RAW_TP = 23 }; /* an attach type */

struct kp_bpf_map_create {
    uint32_t map_type;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t max_entries;
    uint32_t map_flags;
    uint32_t inner_map_fd;
    uint32_t numa_node;
    char map_name[16];
    uint32_t ifindex;
};

struct kp_bpf_map_item {
    uint32_t map_fd;
    uint32_t reserved;
    uint64_t key;
    uint64_t value; /* or where the next key goes */
    uint64_t flags;
};

struct kp_bpf_map_batch {
    uint64_t in_batch;
    uint64_t out_batch;
    uint64_t keys;
    uint64_t values;
    uint32_t count;
    uint32_t map_fd;
    uint64_t item_flags;
    uint64_t flags;
};

struct kp_bpf_prog_load {
    uint32_t prog_type;
    uint32_t insn_count;
    uint64_t insns;
    uint64_t license;
    uint32_t log_level;
    uint32_t log_size;
    uint64_t log_buffer;
    uint32_t kernel_version;
    uint32_t prog_flags;
    char prog_name[16];
    uint32_t ifindex;
    uint32_t expected_attach_type;
    uint32_t btf_fd;
    uint32_t func_info_record_size;
    uint64_t func_info;
    uint32_t func_info_count;
    uint32_t line_info_record_size;
    uint64_t line_info;
    uint32_t line_info_count;
    uint32_t attach_btf_id;
    uint32_t attach_prog_fd;
    uint32_t reserved;
};

struct kp_bpf_raw_tracepoint {
    uint64_t name; /* 0: the program knows its own */
    uint32_t prog_fd;
    uint32_t reserved;
};

struct kp_bpf_test_run {
    uint32_t prog_fd;
    uint32_t retval;
    uint32_t data_size_in;
    uint32_t data_size_out;
    uint64_t data_in;
    uint64_t data_out;
    uint32_t repeat;
    uint32_t duration;
    uint32_t ctx_size_in;
    uint32_t ctx_size_out;
    uint64_t ctx_in;
    uint64_t ctx_out;
    uint32_t flags;
    uint32_t cpu;
};

struct kp_bpf_obj_info {
    uint32_t fd;
    uint32_t info_length;
    uint64_t info;
};

/* Of a program; what stands before the counters is of no interest. */
struct kp_bpf_prog_info {
    uint8_t before[192];
    uint64_t run_time_ns;
    uint64_t run_count;
    uint64_t recursion_misses; /* not run, as it was running on this CPU already */
};

#endif
