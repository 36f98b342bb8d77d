/* SPDX-License-Identifier: Apache-2.0
 * Counts by thread that add up: what a thread counted by itself is taken out of the total of the
 * one whose counters it inherited. */
#include "shareout.h"

#include "count.h"
#include "error.h"

#include <errno.h>
#include <string.h>

static uint64_t at_most(uint64_t wanted, uint64_t *left)
{
    uint64_t given = wanted < *left ? wanted : *left;
    *left -= given;
    return given;
}

/* Gives a part what it counted since the last read and what it was owed, if the total has it. */
static uint64_t give(uint64_t counted, uint64_t *left, uint64_t *unshown)
{
    uint64_t wanted = counted + (unshown == NULL ? 0 : *unshown);
    uint64_t given = at_most(wanted, left);
    if (unshown != NULL)
        *unshown = wanted - given;
    return given;
}

static void copy_row(struct kp_counts *to, size_t row, const struct kp_counts *from, size_t at)
{
    to->count[row] = from->count[at];
    to->value[row] = from->value[at];
    to->enabled[row] = from->enabled[at];
    to->running[row] = from->running[at];
    to->event[row] = from->event[at];
    to->cpu[row] = from->cpu[at];
    to->pid[row] = from->pid[at];
    to->tid[row] = from->tid[at];
    to->state[row] = from->state[at];
    memcpy(to->comm + row * 16, from->comm + at * 16, 16);
}

static void add_part_row(struct kp_counts *out, struct kp_counts *totals, size_t total,
                         const struct kp_part *part, size_t i)
{
    struct kp_unshown *unshown = part->cells == NULL ? NULL : &part->cells[i].unshown;
    size_t row = out->len++;
    copy_row(out, row, part->counts, part->first + i);
    out->count[row] =
        give(out->count[row], &totals->count[total], unshown ? &unshown->count : NULL);
    out->value[row] =
        give(out->value[row], &totals->value[total], unshown ? &unshown->value : NULL);
    at_most(out->enabled[row], &totals->enabled[total]);
    at_most(out->running[row], &totals->running[total]);
}

/* What is left of a total is its own thread's, and of those that have no rows. */
static void add_rest(struct kp_counts *out, const struct kp_counts *totals, size_t at,
                     const struct kp_counts *whole)
{
    size_t row = out->len++;
    copy_row(out, row, totals, at);
    if (out->state[row] == KP_NOT_SUPPORTED || totals->running[at] == whole->running[at])
        return;
    if (out->running[row] == 0 && out->value[row] > 0) { /* times are not read in one instant */
        out->enabled[row] = whole->enabled[at];
        out->running[row] = whole->running[at];
    }
    if (out->running[row] > out->enabled[row])
        out->enabled[row] = out->running[row];
    out->state[row] = out->running[row] > 0 ? KP_COUNTED : KP_NOT_COUNTED;
}

static struct kp_counts *copy_counts(const struct kp_counts *counts)
{
    struct kp_counts *copy = kp_counts_create(counts->len);
    for (size_t i = 0; copy != NULL && i < counts->len; i++)
        copy_row(copy, i, counts, i);
    return copy;
}

static size_t rows_of(const struct kp_part *parts, size_t n_parts)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].len;
    return n;
}

int kp_share_out(struct kp_counts *totals, const struct kp_part *parts, size_t n_parts,
                 uint32_t left_out, struct kp_counts **out)
{
    struct kp_counts *whole = copy_counts(totals);
    struct kp_counts *rows = kp_counts_create(totals->len + rows_of(parts, n_parts));
    struct kp_counts *own = kp_counts_create(rows_of(parts, n_parts));
    if (whole == NULL || rows == NULL || own == NULL) {
        kp_counts_destroy(whole);
        kp_counts_destroy(rows);
        kp_counts_destroy(own);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu counts", totals->len);
    }
    rows->len = own->len = 0;
    for (size_t i = 0; i < n_parts; i++)
        for (size_t row = 0; row < parts[i].len; row++)
            if (parts[i].counts->event[parts[i].first + row] != left_out)
                add_part_row(own, totals, parts[i].total + row, &parts[i], row);
    for (size_t i = 0; i < totals->len; i++)
        if (totals->event[i] != left_out)
            add_rest(rows, totals, i, whole);
    for (size_t i = 0; i < own->len; i++)
        copy_row(rows, rows->len++, own, i);
    kp_counts_destroy(whole);
    kp_counts_destroy(own);
    *out = rows;
    return 0;
}
