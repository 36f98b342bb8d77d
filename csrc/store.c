/* SPDX-License-Identifier: Apache-2.0
 * Columnar samples: 48 bytes a sample, and its share of the interned stacks. */
#include "store.h"

#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_BYTES = 48, NODE_BYTES = 12 + 8, MOST_CHAIN = 1024 };

struct layout {
    size_t column; /* offset of the kp_column in kp_store */
    size_t width;
};

#define COLUMN(name, type)                            \
    {                                                 \
        offsetof(struct kp_store, name), sizeof(type) \
    }

static const struct layout always[] = {
    COLUMN(time, uint64_t), COLUMN(ip, uint64_t), COLUMN(period, uint64_t), COLUMN(pid, int32_t),
    COLUMN(tid, int32_t),   COLUMN(cpu, int32_t), COLUMN(event, uint32_t),  COLUMN(stack, uint32_t),
};
static const struct layout with_addr[] = {COLUMN(addr, uint64_t)};
static const struct layout with_extra[] = {COLUMN(extra_at, uint64_t),
                                           COLUMN(extra_size, uint32_t)};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

typedef int column_fn(struct kp_column *column, size_t width, void *context);

static int each_of(struct kp_store *store, const struct layout *layouts, size_t n, column_fn *visit,
                   void *context)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct kp_column *column = (struct kp_column *)((char *)store + layouts[i].column);
        rc = visit(column, layouts[i].width, context);
    }
    return rc;
}

static int each_column(struct kp_store *store, column_fn *visit, void *context)
{
    int rc = each_of(store, always, LENGTH(always), visit, context);
    if (rc == 0 && store->has_addr)
        rc = each_of(store, with_addr, LENGTH(with_addr), visit, context);
    if (rc == 0 && store->has_extra)
        rc = each_of(store, with_extra, LENGTH(with_extra), visit, context);
    return rc;
}

static int create_column(struct kp_column *column, size_t width, void *context)
{
    return kp_column_create(column, width, *(const size_t *)context);
}

static int grow_column(struct kp_column *column, size_t width, void *context)
{
    (void)width;
    return kp_column_grow(column, *(const size_t *)context);
}

int kp_store_create(struct kp_store *store, uint64_t limit, int has_addr, int has_extra)
{
    memset(store, 0, sizeof(*store));
    store->has_addr = has_addr;
    store->has_extra = has_extra;
    store->most = limit / (ROW_BYTES + NODE_BYTES);
    if (store->most < 1024)
        store->most = 1024;
    int rc = each_column(store, create_column, &store->most);
    if (rc == 0)
        rc = kp_stacks_create(&store->stacks, store->most < UINT32_MAX ? store->most : UINT32_MAX);
    if (rc == 0 && has_extra)
        rc = kp_column_create(&store->extra, 1, limit);
    if (rc != 0)
        kp_store_destroy(store);
    return rc;
}

static int destroy_column(struct kp_column *column, size_t width, void *context)
{
    (void)width;
    (void)context;
    kp_column_destroy(column);
    return 0;
}

void kp_store_destroy(struct kp_store *store)
{
    each_column(store, destroy_column, NULL);
    kp_column_destroy(&store->extra);
    kp_stacks_destroy(&store->stacks);
    memset(store, 0, sizeof(*store));
}

/* ---- adding ---- */

static uint64_t marker_of(uint32_t mode)
{
    if (mode == KP_MISC_KERNEL)
        return KP_CONTEXT_KERNEL;
    return mode == KP_MISC_HYPERVISOR ? KP_CONTEXT_HV : KP_CONTEXT_USER;
}

/* A sample without a chain is a chain of one, so that both are resolved in one way. */
static int add_stack(struct kp_store *store, const struct kp_sample *sample, uint32_t *out)
{
    uint64_t chain[MOST_CHAIN];
    size_t n = sample->n_chain;
    if (n == 0) {
        chain[0] = marker_of(sample->mode);
        chain[1] = sample->ip;
        n = 2;
    } else {
        n = n < MOST_CHAIN ? n : MOST_CHAIN;
        memcpy(chain, sample->chain, n * sizeof(chain[0]));
    }
    return kp_stacks_add_chain(&store->stacks, chain, n, out);
}

static int add_extra(struct kp_store *store, const struct kp_sample *sample, size_t row)
{
    const uint8_t *bytes = sample->raw != NULL ? sample->raw : sample->branches;
    size_t size = sample->raw != NULL ? sample->raw_size : sample->n_branches * 24;
    int rc = kp_column_grow(&store->extra, store->extra_used + size);
    if (rc != 0)
        return rc;
    if (size > 0)
        memcpy(store->extra.base + store->extra_used, bytes, size);
    *(uint64_t *)kp_column_at(&store->extra_at, row) = store->extra_used;
    *(uint32_t *)kp_column_at(&store->extra_size, row) = (uint32_t)size;
    store->extra_used += size;
    return 0;
}

int kp_store_add(struct kp_store *store, const struct kp_sample *sample, uint32_t event)
{
    size_t row = store->len, rows = row + 1;
    uint32_t stack;
    if (row >= store->most)
        return kp_fail(KP_E_NOMEM, ENOMEM, "the store is full");
    int rc = each_column(store, grow_column, &rows);
    if (rc == 0)
        rc = add_stack(store, sample, &stack);
    if (rc == 0 && store->has_extra)
        rc = add_extra(store, sample, row);
    if (rc != 0)
        return rc;
    ((uint64_t *)store->time.base)[row] = sample->time;
    ((uint64_t *)store->ip.base)[row] = sample->ip;
    ((uint64_t *)store->period.base)[row] = sample->period;
    ((int32_t *)store->pid.base)[row] = sample->pid;
    ((int32_t *)store->tid.base)[row] = sample->tid;
    ((int32_t *)store->cpu.base)[row] = sample->cpu;
    ((uint32_t *)store->event.base)[row] = event;
    ((uint32_t *)store->stack.base)[row] = stack;
    if (store->has_addr)
        ((uint64_t *)store->addr.base)[row] = sample->addr;
    store->len = rows;
    return 0;
}

/* ---- order ---- */

struct moment {
    uint64_t time;
    size_t row;
};

static int by_time(const void *left, const void *right)
{
    const struct moment *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

struct reorder {
    const struct moment *moments;
    size_t n;
    uint8_t *spare;
};

static int reorder_column(struct kp_column *column, size_t width, void *context)
{
    const struct reorder *order = context;
    memcpy(order->spare, column->base, order->n * width);
    if (width == sizeof(uint64_t)) {
        for (size_t i = 0; i < order->n; i++)
            ((uint64_t *)column->base)[i] = ((uint64_t *)order->spare)[order->moments[i].row];
    } else {
        for (size_t i = 0; i < order->n; i++)
            ((uint32_t *)column->base)[i] = ((uint32_t *)order->spare)[order->moments[i].row];
    }
    return 0;
}

int kp_store_sort(struct kp_store *store)
{
    const uint64_t *times = (const uint64_t *)store->time.base;
    size_t sorted = 1;
    while (sorted < store->len && times[sorted - 1] <= times[sorted])
        sorted++;
    if (sorted >= store->len)
        return 0;
    struct moment *moments = malloc(store->len * sizeof(*moments));
    uint8_t *spare = malloc(store->len * sizeof(uint64_t));
    if (moments == NULL || spare == NULL) {
        free(moments);
        free(spare);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory to sort %zu samples", store->len);
    }
    for (size_t i = 0; i < store->len; i++)
        moments[i] = (struct moment){.time = times[i], .row = i};
    qsort(moments, store->len, sizeof(*moments), by_time);
    struct reorder order = {.moments = moments, .n = store->len, .spare = spare};
    each_column(store, reorder_column, &order);
    free(moments);
    free(spare);
    return 0;
}
