/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_RECORD_H
#define KPERF_RECORD_H

#include <stddef.h>
#include <stdint.h>

/* A sample as it lies in its record: pointers go into the record. */
struct kp_sample {
    uint64_t id;
    uint64_t ip;
    uint64_t time;
    uint64_t addr;
    uint64_t period;
    int32_t pid;
    int32_t tid;
    int32_t cpu;
    uint32_t mode;        /* KP_MISC_KERNEL, KP_MISC_USER, ... */
    const uint8_t *chain; /* n_chain addresses of 8 bytes, innermost first */
    size_t n_chain;
    const uint8_t *raw;
    size_t raw_size;
    const uint8_t *branches; /* n_branches entries of 24 bytes: from, to, flags */
    size_t n_branches;
};

enum kp_side_kind { KP_SIDE_MAP, KP_SIDE_COMM, KP_SIDE_EXEC, KP_SIDE_FORK, KP_SIDE_EXIT };

enum { KP_BUILD_ID_MOST = 20 };

/* What happened to a process beside the samples. `name` points into the record. */
struct kp_side {
    enum kp_side_kind kind;
    uint64_t time;
    int32_t pid;
    int32_t tid;
    int32_t ppid; /* KP_SIDE_FORK */
    int32_t ptid;
    uint64_t start; /* KP_SIDE_MAP */
    uint64_t length;
    uint64_t offset;
    uint64_t inode; /* 0: not known */
    uint32_t device_major;
    uint32_t device_minor;
    uint8_t build_id[KP_BUILD_ID_MOST];
    uint8_t build_id_size; /* 0: not known */
    const char *name;
    size_t name_size;
};

/* TID, TIME, CPU, IDENTIFIER: what stands at the end of every record that is no sample. */
struct kp_record_end {
    int32_t pid;
    int32_t tid;
    uint64_t time;
    int32_t cpu;
    uint32_t reserved;
    uint64_t id;
};

/* Each returns 0, or -1 for a record that is shorter than what it says it holds. */
int kp_record_sample(const uint8_t *record, size_t size, uint64_t sample_type, int has_branch_index,
                     struct kp_sample *out);

/* How many records a record of loss tells of; 0 for another one. */
uint64_t kp_record_number_lost(const uint8_t *record, size_t size);

/* The identifier and the time at the end of a record that is no sample (sample_id_all). */
int kp_record_trailer(const uint8_t *record, size_t size, uint64_t *time, uint64_t *id);

/* A side-band record. Returns 1 where it is of a type that tells nothing about processes. */
int kp_record_side(const uint8_t *record, size_t size, struct kp_side *out);

#endif
