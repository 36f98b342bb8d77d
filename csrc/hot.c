/* SPDX-License-Identifier: Apache-2.0
 * Samples added up by what they have in common: a hash table over the columns. */
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { N_KEYS = 7, FIRST_SLOTS = 1 << 12 };

struct key {
    uint32_t parts[N_KEYS];
};

struct table {
    struct kp_hot_row *rows;
    uint32_t *slots; /* row + 1; 0 is free */
    size_t n_slots, n, room;
};

static struct key key_of(const struct kp_samples *samples, size_t i, uint32_t keys)
{
    uint32_t stack = samples->stack[i];
    uint32_t frame = (uint32_t)samples->stack_frame[stack];
    const uint32_t all[N_KEYS] = {samples->event[i],
                                  frame,
                                  stack,
                                  samples->comm[i],
                                  (uint32_t)samples->pid[i],
                                  (uint32_t)samples->tid[i],
                                  (uint32_t)samples->cpu[i]};
    struct key key;
    for (int part = 0; part < N_KEYS; part++)
        key.parts[part] = keys >> part & 1 ? all[part] : 0;
    return key;
}

static size_t hash(const struct key *key)
{
    uint64_t mixed = 0;
    for (int part = 0; part < N_KEYS; part++)
        mixed = (mixed ^ key->parts[part]) * 0x9e3779b97f4a7c15u;
    return (size_t)(mixed ^ mixed >> 32);
}

static struct key row_key(const struct kp_hot_row *row)
{
    return (struct key){{row->event, row->frame, row->stack, row->comm, (uint32_t)row->pid,
                         (uint32_t)row->tid, (uint32_t)row->cpu}};
}

static uint32_t *find_slot(const struct table *table, const struct key *key)
{
    size_t at = hash(key) & (table->n_slots - 1);
    for (; table->slots[at] != 0; at = (at + 1) & (table->n_slots - 1)) {
        struct key other = row_key(&table->rows[table->slots[at] - 1]);
        if (memcmp(&other, key, sizeof(other)) == 0)
            break;
    }
    return &table->slots[at];
}

static int grow(struct table *table)
{
    size_t n_slots = table->n_slots ? table->n_slots * 2 : FIRST_SLOTS;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    struct kp_hot_row *rows = realloc(table->rows, n_slots / 2 * sizeof(*rows));
    if (rows != NULL)
        table->rows = rows;
    if (slots == NULL || rows == NULL) {
        free(slots);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory to add the samples up");
    }
    free(table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    table->room = n_slots / 2;
    for (size_t i = 0; i < table->n; i++) {
        struct key key = row_key(&table->rows[i]);
        *find_slot(table, &key) = (uint32_t)i + 1;
    }
    return 0;
}

static struct kp_hot_row *row_of(struct table *table, const struct key *key)
{
    uint32_t *slot = find_slot(table, key);
    if (*slot == 0) {
        table->rows[table->n] = (struct kp_hot_row){.event = key->parts[0],
                                                    .frame = key->parts[1],
                                                    .stack = key->parts[2],
                                                    .comm = key->parts[3],
                                                    .pid = (int32_t)key->parts[4],
                                                    .tid = (int32_t)key->parts[5],
                                                    .cpu = (int32_t)key->parts[6]};
        *slot = (uint32_t)++table->n;
    }
    return &table->rows[*slot - 1];
}

int kp_samples_hot(const struct kp_samples *samples, uint32_t keys, struct kp_hot_row **out,
                   size_t *n_out)
{
    struct table table = {0};
    int rc = grow(&table);
    for (size_t i = 0; rc == 0 && i < samples->len; i++) {
        struct key key = key_of(samples, i, keys);
        struct kp_hot_row *row = row_of(&table, &key);
        row->samples++;
        row->period += samples->period[i];
        if (table.n == table.room)
            rc = grow(&table);
    }
    free(table.slots);
    if (rc != 0) {
        free(table.rows);
        return rc;
    }
    *out = table.rows;
    *n_out = table.n;
    return 0;
}

/* ---- how often a stack and a frame occur ---- */

/* Whether an outer caller of this node has the same frame: recursion counts once a sample. */
static int recurs(const struct kp_samples *samples, uint32_t node)
{
    uint64_t frame = samples->stack_frame[node];
    for (uint32_t outer = samples->stack_parent[node]; outer != 0;
         outer = samples->stack_parent[outer])
        if (samples->stack_frame[outer] == frame)
            return 1;
    return 0;
}

void kp_samples_occurrences(const struct kp_samples *samples, uint64_t *stacks, uint64_t *below,
                            uint64_t *frames)
{
    memset(stacks, 0, samples->n_stacks * sizeof(*stacks));
    memset(frames, 0, samples->n_frames * sizeof(*frames));
    for (size_t i = 0; i < samples->len; i++)
        stacks[samples->stack[i]]++;
    memcpy(below, stacks, samples->n_stacks * sizeof(*below));
    /* A node is made after its caller's, so this order meets every node before its caller. */
    for (size_t node = samples->n_stacks; node-- > 1;) {
        below[samples->stack_parent[node]] += below[node];
        if (!recurs(samples, (uint32_t)node))
            frames[samples->stack_frame[node]] += below[node];
    }
}

void kp_hot_destroy(struct kp_hot_row *rows)
{
    free(rows);
}
