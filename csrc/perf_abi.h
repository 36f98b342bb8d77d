/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of the kernel's perf_event interface that the core uses, declared here because the
 * headers of distributions lag behind their kernels. Source: perf_event_open(2). Kernels older than
 * a field accept the longer structure as long as the rest of it is zero.
 */
#ifndef KPERF_PERF_ABI_H
#define KPERF_PERF_ABI_H

#include <stdint.h>

struct kp_attr {
    uint32_t type;
    uint32_t size;
    uint64_t config;
    uint64_t sample_period;
    uint64_t sample_type;
    uint64_t read_format;
    uint64_t flags; /* KP_ATTR_*: the bit fields of perf_event_attr as one word */
    uint32_t wakeup;
    uint32_t bp_type;
    uint64_t config1;
    uint64_t config2;
    uint64_t branch_sample_type;
    uint64_t sample_regs_user;
    uint32_t sample_stack_user;
    int32_t clockid;
    uint64_t sample_regs_intr;
    uint32_t aux_watermark;
    uint16_t sample_max_stack;
    uint16_t reserved_2;
    uint32_t aux_sample_size;
    uint32_t aux_action;
    uint64_t sig_data;
    uint64_t config3;
};

_Static_assert(sizeof(struct kp_attr) == 136, "perf_event_attr, version 8");

#define KP_ATTR_DISABLED (1ULL << 0)
#define KP_ATTR_INHERIT (1ULL << 1)
#define KP_ATTR_PINNED (1ULL << 2)
#define KP_ATTR_EXCLUDE_USER (1ULL << 4)
#define KP_ATTR_EXCLUDE_KERNEL (1ULL << 5)
#define KP_ATTR_EXCLUDE_HV (1ULL << 6)
#define KP_ATTR_ENABLE_ON_EXEC (1ULL << 12)
#define KP_ATTR_TASK (1ULL << 13)
#define KP_ATTR_PRECISE_SHIFT 15
#define KP_ATTR_SAMPLE_ID_ALL (1ULL << 18)
#define KP_ATTR_EXCLUDE_HOST (1ULL << 19)
#define KP_ATTR_EXCLUDE_GUEST (1ULL << 20)
#define KP_ATTR_USE_CLOCKID (1ULL << 25)

#define KP_TYPE_HARDWARE 0u
#define KP_TYPE_SOFTWARE 1u
#define KP_TYPE_TRACEPOINT 2u
#define KP_TYPE_HW_CACHE 3u
#define KP_TYPE_BREAKPOINT 5u
#define KP_SW_DUMMY 9u

#define KP_ATTR_MMAP (1ULL << 8)
#define KP_ATTR_COMM (1ULL << 9)
#define KP_ATTR_FREQ (1ULL << 10)
#define KP_ATTR_WATERMARK (1ULL << 14)
#define KP_ATTR_MMAP2 (1ULL << 23)
#define KP_ATTR_COMM_EXEC (1ULL << 24)
#define KP_ATTR_KSYMBOL (1ULL << 29)
#define KP_ATTR_CONTEXT_SWITCH (1ULL << 26)
#define KP_ATTR_BUILD_ID (1ULL << 34)

#define KP_SAMPLE_IP (1ULL << 0)
#define KP_SAMPLE_TID (1ULL << 1)
#define KP_SAMPLE_TIME (1ULL << 2)
#define KP_SAMPLE_ADDR (1ULL << 3)
#define KP_SAMPLE_READ (1ULL << 4)
#define KP_SAMPLE_CALLCHAIN (1ULL << 5)
#define KP_SAMPLE_ID (1ULL << 6)
#define KP_SAMPLE_CPU (1ULL << 7)
#define KP_SAMPLE_PERIOD (1ULL << 8)
#define KP_SAMPLE_STREAM_ID (1ULL << 9)
#define KP_SAMPLE_RAW (1ULL << 10)
#define KP_SAMPLE_BRANCH_STACK (1ULL << 11)
#define KP_SAMPLE_REGS_USER (1ULL << 12)
#define KP_SAMPLE_IDENTIFIER (1ULL << 16)

#define KP_BRANCH_HW_INDEX (1ULL << 17) /* a word before the entries */
#define KP_BRANCH_ENTRY 24              /* bytes: from, to, flags */

/* A call chain holds these between its addresses: they say whose the next ones are. */
#define KP_CONTEXT_HV ((uint64_t)-32)
#define KP_CONTEXT_KERNEL ((uint64_t)-128)
#define KP_CONTEXT_USER ((uint64_t)-512)
#define KP_CONTEXT_LOWEST ((uint64_t)-4095)

#define KP_FORMAT_ENABLED (1ULL << 0)
#define KP_FORMAT_RUNNING (1ULL << 1)
#define KP_FORMAT_ID (1ULL << 2)
#define KP_FORMAT_GROUP (1ULL << 3)
#define KP_FORMAT_LOST (1ULL << 4)

#define KP_OPEN_PID_CGROUP (1UL << 2)
#define KP_OPEN_CLOEXEC (1UL << 3)

#define KP_RECORD_MMAP 1u
#define KP_RECORD_LOST 2u
#define KP_RECORD_COMM 3u
#define KP_RECORD_EXIT 4u
#define KP_RECORD_THROTTLE 5u
#define KP_RECORD_UNTHROTTLE 6u
#define KP_RECORD_FORK 7u
#define KP_RECORD_SAMPLE 9u
#define KP_RECORD_MMAP2 10u
#define KP_RECORD_AUX 11u
#define KP_RECORD_ITRACE_START 12u
#define KP_RECORD_LOST_SAMPLES 13u
#define KP_RECORD_SWITCH 14u
#define KP_RECORD_SWITCH_CPU_WIDE 15u
#define KP_RECORD_KSYMBOL 17u

#define KP_MISC_CPUMODE 7u
#define KP_MISC_KERNEL 1u
#define KP_MISC_USER 2u
#define KP_MISC_HYPERVISOR 3u
#define KP_MISC_COMM_EXEC (1u << 13)
#define KP_MISC_SWITCH_OUT (1u << 13)
#define KP_MISC_MMAP_BUILD_ID (1u << 14)

struct kp_record_header {
    uint32_t type;
    uint16_t misc;
    uint16_t size;
};

struct kp_record_fork {
    struct kp_record_header header;
    uint32_t pid;
    uint32_t ppid;
    uint32_t tid;
    uint32_t ptid;
    uint64_t time;
};

struct kp_record_lost {
    struct kp_record_header header;
    uint64_t id;
    uint64_t lost;
};

/* Of perf.data files: AUX bytes, which stand behind it. */
#define KP_FILE_AUXTRACE 71u

/* New bytes in the AUX area. */
struct kp_record_aux {
    struct kp_record_header header;
    uint64_t offset;
    uint64_t size;
    uint64_t flags;
};

#define KP_AUX_TRUNCATED 1u /* the area was full, and the event stopped */
#define KP_AUX_PARTIAL 4u   /* data went lost */
#define KP_AUX_COLLISION 8u /* a sample came while another was in the making */

/* An event that counts nothing and may be opened wherever any may. */
struct kp_attr kp_dummy_attr(void);

int kp_perf_event_open(const struct kp_attr *attr, int32_t pid, int32_t cpu, int group_fd,
                       unsigned long flags);

#endif
