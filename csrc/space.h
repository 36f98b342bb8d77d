/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_SPACE_H
#define KPERF_SPACE_H

#include "kperf_core.h"
#include "record.h"
#include "strings.h"

#include <stddef.h>
#include <stdint.h>

/* One executable mapping of a file (or of nothing) into a process. */
struct kp_mapping {
    uint64_t start;
    uint64_t end;
    uint64_t offset; /* in the file */
    uint64_t time;   /* from when it holds; ns of the session's clock, 0: always */
    uint64_t inode;
    uint32_t device_major;
    uint32_t device_minor;
    int32_t pid;
    uint32_t path; /* number in the strings */
    uint8_t build_id[KP_BUILD_ID_MOST];
    uint8_t build_id_size;
};

struct kp_spaces;

int kp_spaces_create(struct kp_spaces **out);
void kp_spaces_destroy(struct kp_spaces *spaces);
struct kp_strings *kp_spaces_strings(struct kp_spaces *spaces);

/* Takes what a side-band record says. */
int kp_spaces_add(struct kp_spaces *spaces, const struct kp_side *side);

/* The same of what is found to be so at that time, and may have been since its space began. */
int kp_spaces_add_scanned(struct kp_spaces *spaces, const struct kp_side *side);

/* Takes a running process as it is: the names of its threads and its executable mappings. A process
 * that is gone is no error. */
int kp_spaces_scan(struct kp_spaces *spaces, int32_t pid, uint64_t now);

/* Puts all that was taken in order of time; to be called before the look-ups. */
int kp_spaces_index(struct kp_spaces *spaces);

/* Forgets what no sample after the horizon needs: programs and threads that have ended, what has
 * been mapped over. Does nothing before there is much of it; must follow kp_spaces_index, and needs
 * another one where it did something. */
int kp_spaces_settle(struct kp_spaces *spaces, uint64_t horizon);

enum { KP_SETTLE_ABOVE = 4096 }; /* records and lines of scans */

enum { KP_NO_SPACE = -1 };

/* The address space of a process at a time, or KP_NO_SPACE. `generation` changes whenever a mapping
 * takes the place of another: what was resolved in one generation holds all through it. */
int64_t kp_spaces_find(const struct kp_spaces *spaces, int32_t pid, uint64_t time,
                       uint32_t *generation);

/* The mapping at an address, or NULL. Its number is its place in kp_spaces_mappings. */
const struct kp_mapping *kp_spaces_lookup(const struct kp_spaces *spaces, int64_t space,
                                          uint64_t time, uint64_t address);
const struct kp_mapping *kp_spaces_mappings(const struct kp_spaces *spaces, size_t *n);

/* All that was taken, once indexed: an array that the caller frees. */
int kp_spaces_task_events(const struct kp_spaces *spaces, struct kp_task_event **out, size_t *n);

/* The name of a thread at a time: a number in the strings, 0 where it is not known. */
uint32_t kp_spaces_comm(const struct kp_spaces *spaces, int32_t tid, uint64_t time);

#endif
