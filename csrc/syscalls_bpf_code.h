/* SPDX-License-Identifier: Apache-2.0
 *
 * What the BPF programs that follow system calls share with the reader of their maps. */
#ifndef KPERF_SYSCALLS_BPF_CODE_H
#define KPERF_SYSCALLS_BPF_CODE_H

#include "bpf_asm.h"
#include "histogram.h"
#include "kperf_core.h"

#include <stdint.h>

/* ---- memory that both see ---- */

/* What is known of a call number. */
enum kp_call_entry {
    KP_CALL_SLOT = 0x03ff,        /* which of the dense rows */
    KP_CALL_TRACED = 0x8000,      /* it is to be counted */
    KP_CALL_RESTARTS = 0x4000,    /* it goes on with the call before it */
    KP_CALL_NO_ERROR = 0x2000,    /* what it returns is no result */
    KP_CALL_BEARS = 0x1000,       /* it returns a second time, in the child, with 0 */
    KP_CALL_SPARSE = KP_CALL_SLOT /* this slot: no dense row, its key is the number */
};

enum {
    KP_CALL_NUMBERS = 1024, /* in a table; others are counted by their number */
    KP_CALL_MOST_SLOTS = KP_CALL_SPARSE,
    KP_CALL_MOST_CPUS = 8192
};

struct kp_call_control {
    uint64_t since; /* calls that began earlier are not of this window; all ones: no window */
    uint64_t bank;  /* 0 or 1: which half of the results is being written */
    uint64_t lost_calls;
    uint64_t lost_threads; /* calls of threads that had no room */
    uint64_t lost_rows;
    uint64_t lost_buckets;
    uint64_t reserved[2];
    uint16_t entries[2][KP_CALL_NUMBERS]; /* of 64-bit tasks, of 32-bit tasks */
    uint8_t cpus[KP_CALL_MOST_CPUS];      /* 1: trace there */
};

struct kp_call_counts {
    uint64_t count;
    uint64_t errors;
    uint64_t unfinished;
    uint64_t begun_before;
    uint64_t total_ns;
    uint64_t max_ns;
    int32_t pid;
    int32_t tid;
    uint64_t reserved;
};

/* Buckets beyond are not told apart: 2^45 ns are ten hours. */
enum { KP_CALL_BUCKETS = 40 * KP_BUCKETS_AN_OCTAVE };

/* Each CPU gathers the buckets it meets often before they go to the common histograms. */
struct kp_call_gathered {
    uint64_t key; /* slot * KP_CALL_BUCKETS + bucket */
    uint64_t count;
};

enum { KP_CALL_GATHER_BITS = 11, KP_CALL_GATHERED = 1 << KP_CALL_GATHER_BITS };

/* ---- maps ---- */

/* What keeps a thread from being followed; threads take it over from their process's target. */
enum kp_call_thread_flag {
    KP_CALL_HELD = 1,    /* until its exec */
    KP_CALL_NEWBORN = 2, /* followed, but its first return is not of a call */
    KP_CALL_LEFT_OUT = 4 /* born of a target without its being inherited */
};

/* By thread id: the call that it is in. */
struct kp_call_thread {
    uint64_t start;  /* 0: none */
    uint64_t paused; /* when it was interrupted, to go on with restart_syscall; 0: it was not */
    uint32_t number;
    uint32_t bits;
    uint32_t entry;
    uint32_t flags;
    int32_t pid; /* as kperf's pid namespace has them; 0: it has not */
    int32_t tid;
};

/* By process or thread, and for numbers that no table has. */
struct kp_call_place {
    uint32_t id; /* process or thread */
    uint32_t number;
    uint16_t bits;
    uint16_t bank;
    uint32_t cpu; /* rows that several threads share: one a CPU; buckets: the bucket */
};

struct kp_call_keyed {
    struct kp_call_counts counts;
    char comm[16];
};

/* ---- building ---- */

enum kp_call_program {
    KP_CALL_ON_ENTER,
    KP_CALL_ON_EXIT,
    KP_CALL_ON_FORK,
    KP_CALL_ON_EXEC,
    KP_CALL_ON_END,
    KP_CALL_PROGRAMS
};

/* Offsets in the kernel's structures, in bytes. */
struct kp_call_offsets {
    int32_t regs_number; /* pt_regs: the call's number */
    int32_t regs_compat; /* pt_regs, or the task: where a 32-bit call shows */
    int32_t task_pid;    /* task_struct */
    int32_t task_tgid;   /* task_struct */
    int32_t task_signal; /* task_struct */
    int32_t signal_live; /* signal_struct */
    int32_t task_thread_pid;
    int32_t task_group_leader;
    int32_t pid_level;
    int32_t pid_numbers;
};

struct kp_call_plan {
    struct kp_call_offsets offsets;
    int control, rows, gathered, histograms; /* descriptors of the shared memory */
    int threads, targets, keyed, buckets;    /* of the maps; targets -1: everybody */
    uint32_t n_cpus;
    uint32_t n_slots;
    uint32_t key;       /* kp_call_key */
    int every;          /* numbers that no table has are traced too */
    int some_cpus;      /* control.cpus chooses */
    int follow;         /* children are targets as well */
    int task_btf;       /* this kernel has bpf_get_current_task_btf */
    int nested;         /* kperf lives in a pid namespace: this many above it, in namespace */
    uint64_t namespace; /* the kernel's address of it */
};

/* The program for one of the tracepoints. */
int kp_call_program(const struct kp_call_plan *plan, enum kp_call_program which,
                    struct kp_asm *out);

/* Returns in r0 the level of its own pid namespace and writes its address to control.since. */
int kp_call_namespace_program(const struct kp_call_plan *plan, struct kp_asm *out);

#endif
