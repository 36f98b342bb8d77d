/* SPDX-License-Identifier: Apache-2.0
 * From raw addresses to frames: an address means nothing without the address space of its time.
 *
 * A frame is an address in a mapping, a resolved stack a chain of frames. Both are interned, so a
 * symbol is looked up once a frame, and equal stacks of equal spaces are resolved once. */
#include "resolve.h"

#include "branches.h"
#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 1100, MOST_NODES = 1 << 28 };

struct result {
    struct kp_samples samples; /* first: what Python sees is the result itself */
    struct kp_store store;
    struct kp_stacks stacks; /* address: a frame; parent: the caller's node */
    struct kp_stacks frames; /* address: an address; parent: mapping + 1 and flag */
    struct kp_column comm;
};

struct resolver {
    struct result *result;
    const struct kp_spaces *spaces;
    const struct kp_mapping *first; /* of all mappings */
    struct kp_stacks known;         /* address: space and generation; parent: a raw node */
    struct kp_column known_node;    /* uint32_t: what it resolved to */
};

/* ---- frames ---- */

static uint32_t mapping_of(const struct resolver *resolver, int64_t space, uint64_t time,
                           uint64_t context, uint64_t address)
{
    if (context == KP_CONTEXT_KERNEL)
        return KP_MAPPING_KERNEL;
    if (context != KP_CONTEXT_USER)
        return KP_MAPPING_NONE;
    const struct kp_mapping *mapping = kp_spaces_lookup(resolver->spaces, space, time, address);
    return mapping == NULL ? KP_MAPPING_NONE : (uint32_t)(mapping - resolver->first);
}

struct link {
    uint64_t address;
    uint64_t context;
    uint32_t flag; /* KP_FRAME_CALLER or 0 */
};

/* A raw stack from its innermost frame out, without the markers that tell whose frames they are.
 * The first frame after a marker was interrupted where it is; the others wait for a call. */
static size_t unroll(const struct kp_stacks *raw, uint32_t node, struct link *links)
{
    uint64_t context = KP_CONTEXT_USER;
    uint32_t flag = 0;
    size_t n = 0;
    for (; node != 0 && n < MOST_DEPTH; node = kp_stacks_parent(raw, node)) {
        uint64_t address = kp_stacks_address(raw, node);
        if (address >= KP_CONTEXT_LOWEST) {
            context = address;
            flag = 0;
        } else {
            links[n++] = (struct link){.address = address, .context = context, .flag = flag};
            flag = KP_FRAME_CALLER;
        }
    }
    return n;
}

static int resolve_stack(struct resolver *resolver, uint32_t raw, int64_t space, uint64_t time,
                         uint32_t *out)
{
    struct link links[MOST_DEPTH];
    struct result *result = resolver->result;
    size_t n = unroll(&result->store.stacks, raw, links);
    uint32_t node = 0;
    int rc = 0;
    while (rc == 0 && n-- > 0) {
        uint32_t frame;
        uint64_t address = links[n].address, code = address - (links[n].flag != 0);
        uint32_t mapping = mapping_of(resolver, space, time, links[n].context, code);
        rc = kp_stacks_add(&result->frames, (mapping + 1) | links[n].flag, address, &frame);
        if (rc == 0)
            rc = kp_stacks_add(&result->stacks, node, frame, &node);
    }
    *out = node;
    return rc;
}

/* ---- samples ---- */

static int resolve_known(struct resolver *resolver, uint32_t raw, int32_t pid, uint64_t time,
                         uint32_t *out)
{
    uint32_t generation, key;
    int64_t space = kp_spaces_find(resolver->spaces, pid, time, &generation);
    uint32_t before = resolver->known.n;
    uint64_t where = (uint64_t)(space + 1) << 24 ^ generation;
    int rc = kp_stacks_add(&resolver->known, raw, where, &key);
    if (rc == 0)
        rc = kp_column_grow(&resolver->known_node, (size_t)resolver->known.n);
    if (rc != 0)
        return rc;
    uint32_t *kept = kp_column_at(&resolver->known_node, key);
    if (key >= before)
        rc = resolve_stack(resolver, raw, space, time, kept);
    *out = *kept;
    return rc;
}

static int resolve_all(struct resolver *resolver)
{
    struct kp_store *store = &resolver->result->store;
    uint32_t *stack = (uint32_t *)store->stack.base;
    uint32_t *comm = (uint32_t *)resolver->result->comm.base;
    const uint64_t *time = (const uint64_t *)store->time.base;
    const int32_t *pid = (const int32_t *)store->pid.base, *tid = (const int32_t *)store->tid.base;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < store->len; i++) {
        rc = resolve_known(resolver, stack[i], pid[i], time[i], &stack[i]);
        comm[i] = kp_spaces_comm(resolver->spaces, tid[i], time[i]);
    }
    return rc;
}

/* ---- branches ---- */

enum { KERNEL_BIT = 63 }; /* of an address: the upper half is the kernel's */

static int frame_of(struct resolver *resolver, int64_t space, uint64_t time, uint64_t address,
                    uint32_t *out)
{
    uint64_t context = address >> KERNEL_BIT ? KP_CONTEXT_KERNEL : KP_CONTEXT_USER;
    uint32_t mapping = mapping_of(resolver, space, time, context, address);
    return kp_stacks_add(&resolver->result->frames, mapping + 1, address, out);
}

static int resolve_branches(struct resolver *resolver, const struct kp_tally *sums)
{
    struct kp_samples *samples = &resolver->result->samples;
    samples->branches = calloc(sums->n + 1, sizeof(*samples->branches));
    if (samples->branches == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu branches", sums->n);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sums->n; i++) {
        const struct kp_branch_key *key = kp_tally_key(sums, i);
        const struct kp_branch_sum *sum = kp_tally_value(sums, i);
        struct kp_branch_row *row = &samples->branches[i];
        *row = (struct kp_branch_row){.taken = sum->taken,
                                      .mispredicted = sum->mispredicted,
                                      .predicted = sum->predicted,
                                      .cycles = sum->cycles,
                                      .timed = sum->timed,
                                      .event = kp_branch_event(key)};
        rc = frame_of(resolver, key->space, sum->time, key->from, &row->from);
        if (rc == 0)
            rc = frame_of(resolver, key->space, sum->time, key->to, &row->to);
    }
    samples->n_branches = sums->n;
    return rc;
}

static int add_up_branches(struct resolver *resolver)
{
    const struct kp_store *store = &resolver->result->store;
    struct kp_tally sums;
    if (!store->has_branches)
        return 0;
    int rc = kp_branches_add_up(store, resolver->spaces, &sums,
                                &resolver->result->samples.branches_dropped);
    if (rc != 0)
        return rc;
    rc = resolve_branches(resolver, &sums);
    kp_tally_destroy(&sums);
    return rc;
}

/* ---- the result ---- */

static int copy_mappings(struct result *result, const struct kp_spaces *spaces)
{
    size_t n;
    const struct kp_mapping *mappings = kp_spaces_mappings(spaces, &n);
    struct kp_file_mapping *copies = calloc(n + 1, sizeof(*copies));
    if (copies == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu mappings", n);
    for (size_t i = 0; i < n; i++) {
        copies[i] = (struct kp_file_mapping){.start = mappings[i].start,
                                             .end = mappings[i].end,
                                             .offset = mappings[i].offset,
                                             .inode = mappings[i].inode,
                                             .device_major = mappings[i].device_major,
                                             .device_minor = mappings[i].device_minor,
                                             .pid = mappings[i].pid,
                                             .path = mappings[i].path,
                                             .build_id_size = mappings[i].build_id_size};
        memcpy(copies[i].build_id, mappings[i].build_id, sizeof(copies[i].build_id));
    }
    result->samples.mappings = copies;
    result->samples.n_mappings = n;
    return 0;
}

static int copy_strings(struct result *result, const struct kp_strings *strings)
{
    uint64_t *offsets = malloc(((size_t)strings->n + 1) * sizeof(*offsets));
    char *bytes = malloc(strings->used + 1);
    result->samples.string_offset = offsets;
    result->samples.strings = bytes;
    if (offsets == NULL || bytes == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for names");
    memcpy(offsets, strings->offset.base, strings->n * sizeof(*offsets));
    memcpy(bytes, strings->bytes.base, strings->used);
    result->samples.n_strings = strings->n;
    return 0;
}

static void publish(struct result *result)
{
    const struct kp_store *store = &result->store;
    struct kp_samples *samples = &result->samples;
    samples->len = store->len;
    samples->time = (uint64_t *)store->time.base;
    samples->ip = (uint64_t *)store->ip.base;
    samples->addr = (uint64_t *)store->addr.base;
    samples->period = (uint64_t *)store->period.base;
    samples->pid = (int32_t *)store->pid.base;
    samples->tid = (int32_t *)store->tid.base;
    samples->cpu = (int32_t *)store->cpu.base;
    samples->event = (uint32_t *)store->event.base;
    samples->stack = (uint32_t *)store->stack.base;
    samples->comm = (uint32_t *)result->comm.base;
    samples->extra_at = (uint64_t *)store->extra_at.base;
    samples->extra_size = (uint32_t *)store->extra_size.base;
    samples->extra = store->extra.base;
    samples->n_extra = store->extra_used;
    samples->stack_frame = (uint64_t *)result->stacks.address.base;
    samples->stack_parent = (uint32_t *)result->stacks.parent.base;
    samples->n_stacks = result->stacks.n;
    samples->frame_address = (uint64_t *)result->frames.address.base;
    samples->frame_mapping = (uint32_t *)result->frames.parent.base;
    samples->n_frames = result->frames.n;
}

static int prepare(struct result *result)
{
    size_t n = result->store.len;
    /* A raw stack that many processes share is one of each here: more than the store had. */
    size_t most_nodes = n < MOST_NODES / MOST_DEPTH ? n * MOST_DEPTH + 1 : MOST_NODES;
    int rc = kp_stacks_create(&result->stacks, most_nodes);
    if (rc == 0)
        rc = kp_stacks_create(&result->frames, most_nodes);
    if (rc == 0)
        rc = kp_column_create(&result->comm, sizeof(uint32_t), n + 1);
    if (rc == 0)
        rc = kp_column_grow(&result->comm, n);
    return rc;
}

static int run(struct result *result, struct kp_spaces *spaces)
{
    size_t n_mappings;
    struct resolver resolver = {.result = result, .spaces = spaces};
    size_t most_nodes = result->store.len + 1; /* one a sample, and the empty one */
    resolver.first = kp_spaces_mappings(spaces, &n_mappings);
    int rc = kp_stacks_create(&resolver.known, most_nodes);
    if (rc == 0)
        rc = kp_column_create(&resolver.known_node, sizeof(uint32_t), most_nodes);
    if (rc == 0)
        rc = resolve_all(&resolver);
    if (rc == 0)
        rc = add_up_branches(&resolver);
    kp_stacks_destroy(&resolver.known);
    kp_column_destroy(&resolver.known_node);
    return rc;
}

int kp_resolve(struct kp_store *store, struct kp_spaces *spaces, struct kp_samples **out)
{
    struct result *result = calloc(1, sizeof(*result));
    if (result == NULL) {
        kp_store_destroy(store);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a result");
    }
    result->store = *store;
    memset(store, 0, sizeof(*store));
    int rc = kp_store_sort(&result->store);
    if (rc == 0)
        rc = kp_spaces_index(spaces);
    if (rc == 0)
        rc = prepare(result);
    if (rc == 0)
        rc = run(result, spaces);
    if (rc == 0)
        rc = copy_mappings(result, spaces);
    if (rc == 0)
        rc = copy_strings(result, kp_spaces_strings(spaces));
    if (rc == 0)
        rc = kp_spaces_task_events(spaces, &result->samples.task_events,
                                   &result->samples.n_task_events);
    /* The raw stacks and the room for samples that never came are not needed any more. */
    kp_stacks_destroy(&result->store.stacks);
    publish(result);
    *out = &result->samples;
    if (rc != 0)
        kp_samples_destroy(*out);
    return rc;
}

void kp_samples_destroy(struct kp_samples *samples)
{
    struct result *result = (struct result *)samples;
    if (result == NULL)
        return;
    kp_samples_destroy(result->samples.sums);
    kp_store_destroy(&result->store);
    kp_stacks_destroy(&result->stacks);
    kp_stacks_destroy(&result->frames);
    kp_column_destroy(&result->comm);
    free(result->samples.branches);
    free(result->samples.mappings);
    free(result->samples.task_events);
    free(result->samples.string_offset);
    free(result->samples.strings);
    free(result->samples.loss);
    free(result);
}
