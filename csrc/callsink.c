/* SPDX-License-Identifier: Apache-2.0
 * What calls become: rows of a summary, which need no memory a call, and a list of 40 bytes a call.
 */
#include "callsink.h"

#include "error.h"
#include "syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NUMBERS = UINT16_MAX, FIRST_SLOTS = 256, MOST_ROWS = 1 << 20 };

/* ---- which call ---- */

static int is_call(const struct kp_call_number *met, uint32_t number, uint32_t bits)
{
    return met->number == number && met->bits == bits;
}

static int64_t add_number(struct kp_call_sink *sink, uint32_t number, uint32_t bits)
{
    for (size_t i = 0; i < sink->n_numbers; i++)
        if (is_call(&sink->numbers[i], number, bits))
            return (int64_t)i;
    if (sink->n_numbers == MOST_NUMBERS)
        return -1;
    if (sink->n_numbers == sink->numbers_room) {
        size_t room = sink->numbers_room ? 2 * sink->numbers_room : 64;
        struct kp_call_number *grown = realloc(sink->numbers, room * sizeof(*grown));
        if (grown == NULL)
            return -1;
        sink->numbers = grown;
        sink->numbers_room = room;
    }
    sink->numbers[sink->n_numbers] = (struct kp_call_number){.number = number, .bits = bits};
    return (int64_t)sink->n_numbers++;
}

/* The place of a number in the list of those met, or -1 where that is full. */
static int64_t number_index(struct kp_call_sink *sink, uint32_t number, uint32_t bits)
{
    uint16_t *met = &sink->met[number % (sizeof(sink->met) / sizeof(sink->met[0]))];
    if (*met != 0 && is_call(&sink->numbers[*met - 1], number, bits))
        return *met - 1;
    int64_t index = add_number(sink, number, bits);
    if (index >= 0)
        *met = (uint16_t)(index + 1);
    return index;
}

/* ---- rows ---- */

static size_t slot_of(const struct kp_sink_rows *rows, uint64_t key)
{
    size_t at = (key * 0x9e3779b97f4a7c15u >> 20) & (rows->n_slots - 1);
    while (rows->slots[at] != 0 && rows->items[rows->slots[at] - 1].key != key)
        at = (at + 1) & (rows->n_slots - 1);
    return at;
}

static int grow_slots(struct kp_sink_rows *rows)
{
    size_t n = rows->n_slots ? 2 * rows->n_slots : FIRST_SLOTS;
    uint32_t *slots = calloc(n, sizeof(*slots));
    if (slots == NULL)
        return -1;
    free(rows->slots);
    rows->slots = slots;
    rows->n_slots = n;
    for (size_t i = 0; i < rows->len; i++)
        rows->slots[slot_of(rows, rows->items[i].key)] = (uint32_t)i + 1;
    return 0;
}

static int make_room(struct kp_sink_rows *rows)
{
    if (rows->len == MOST_ROWS)
        return -1;
    if (2 * rows->len >= rows->n_slots && grow_slots(rows) != 0)
        return -1;
    if (rows->len < rows->room)
        return 0;
    size_t room = rows->room ? 2 * rows->room : 64;
    struct kp_sink_row *grown = realloc(rows->items, room * sizeof(*grown));
    if (grown == NULL)
        return -1;
    rows->items = grown;
    rows->room = room;
    return 0;
}

/* Whose row a call is counted in. */
static int32_t owner_of(const struct kp_call_sink *sink, const struct kp_call *call)
{
    if (sink->key == KP_CALLS_BY_THREAD)
        return call->tid;
    return sink->key == KP_CALLS_BY_PROCESS ? call->pid : -1;
}

/* The row of a call, or NULL where there is no room for another one. */
static struct kp_sink_row *row_of(struct kp_call_sink *sink, const struct kp_call *call)
{
    struct kp_sink_rows *rows = &sink->rows;
    int64_t index = number_index(sink, call->number, call->bits);
    if (index < 0 || (rows->n_slots == 0 && grow_slots(rows) != 0))
        return NULL;
    uint64_t key = (uint64_t)index << 32 | (uint32_t)owner_of(sink, call);
    size_t at = slot_of(rows, key);
    if (rows->slots[at] != 0)
        return &rows->items[rows->slots[at] - 1];
    if (make_room(rows) != 0)
        return NULL;
    struct kp_sink_row *row = &rows->items[rows->len++];
    rows->slots[slot_of(rows, key)] = (uint32_t)rows->len;
    memset(row, 0, sizeof(*row));
    row->key = key;
    row->row.number = call->number;
    row->row.bits = call->bits;
    row->row.pid = sink->key == KP_CALLS_TOGETHER ? -1 : call->pid;
    row->row.tid = sink->key == KP_CALLS_BY_THREAD ? call->tid : -1;
    return row;
}

/* The row of a call, with the name that its owner has now. */
static struct kp_sink_row *named_row_of(struct kp_call_sink *sink, const struct kp_call *call)
{
    struct kp_sink_row *row = row_of(sink, call);
    if (row == NULL)
        sink->loss.lost++;
    else if (sink->key != KP_CALLS_TOGETHER)
        memcpy(row->row.comm, call->comm, sizeof(row->row.comm));
    return row;
}

/* ---- the list ---- */

static struct {
    size_t offset;
    size_t width;
} const columns[] = {
    {offsetof(struct kp_sink_list, start), sizeof(uint64_t)},
    {offsetof(struct kp_sink_list, elapsed), sizeof(uint64_t)},
    {offsetof(struct kp_sink_list, ret), sizeof(int64_t)},
    {offsetof(struct kp_sink_list, pid), sizeof(int32_t)},
    {offsetof(struct kp_sink_list, tid), sizeof(int32_t)},
    {offsetof(struct kp_sink_list, comm), sizeof(uint32_t)},
    {offsetof(struct kp_sink_list, which), sizeof(uint16_t)},
    {offsetof(struct kp_sink_list, cpu), sizeof(uint16_t)},
};

enum {
    N_COLUMNS = sizeof(columns) / sizeof(columns[0]),
    BYTES_A_CALL = 40,
    MOST_NAME_BYTES = 1 << 26
};

static struct kp_column *column_at(struct kp_sink_list *list, size_t i)
{
    return (struct kp_column *)((uint8_t *)list + columns[i].offset);
}

static void list_destroy(struct kp_sink_list *list)
{
    for (size_t i = 0; i < N_COLUMNS; i++)
        kp_column_destroy(column_at(list, i));
    kp_strings_destroy(&list->strings);
}

static int list_create(struct kp_sink_list *list, uint64_t bytes)
{
    memset(list, 0, sizeof(*list));
    list->most = bytes / BYTES_A_CALL;
    int rc = kp_strings_create(&list->strings, MOST_NAME_BYTES);
    for (size_t i = 0; rc == 0 && i < N_COLUMNS; i++)
        rc = kp_column_create(column_at(list, i), columns[i].width, list->most);
    if (rc != 0)
        list_destroy(list);
    return rc;
}

static int list_grow(struct kp_sink_list *list, size_t len)
{
    if (len > list->most)
        return -1;
    for (size_t i = 0; i < N_COLUMNS; i++)
        if (kp_column_grow(column_at(list, i), len) != 0)
            return -1;
    return 0;
}

static int list_add(struct kp_call_sink *sink, const struct kp_call *call)
{
    struct kp_sink_list *list = &sink->list;
    size_t at = list->len;
    int64_t which = number_index(sink, call->number, call->bits);
    uint32_t comm;
    if (which < 0 || list_grow(list, at + 1) != 0 ||
        kp_strings_add(&list->strings, call->comm, 16, &comm) != 0)
        return -1;
    ((uint64_t *)list->start.base)[at] = call->start;
    ((uint64_t *)list->elapsed.base)[at] = call->elapsed;
    ((int64_t *)list->ret.base)[at] = call->ret;
    ((int32_t *)list->pid.base)[at] = call->pid;
    ((int32_t *)list->tid.base)[at] = call->tid;
    ((uint32_t *)list->comm.base)[at] = comm;
    ((uint16_t *)list->which.base)[at] = (uint16_t)which;
    ((uint16_t *)list->cpu.base)[at] = (uint16_t)call->cpu;
    list->len++;
    return 0;
}

/* ---- taking ---- */

void kp_sink_finished(struct kp_call_sink *sink, const struct kp_call *call)
{
    if (sink->with_list && list_add(sink, call) != 0)
        sink->loss.lost++;
    if (sink->with_list)
        return;
    struct kp_sink_row *row = named_row_of(sink, call);
    if (row == NULL)
        return;
    if (kp_histogram_add(&row->histogram, call->elapsed) != 0) {
        sink->loss.lost++;
        return;
    }
    row->row.count++;
    row->row.errors += kp_call_failed(call->ret);
    row->row.total_ns += call->elapsed;
    if (call->elapsed > row->row.max_ns)
        row->row.max_ns = call->elapsed;
}

void kp_sink_unfinished(struct kp_call_sink *sink, const struct kp_call *call)
{
    struct kp_sink_row *row = named_row_of(sink, call);
    if (row != NULL)
        row->row.unfinished++;
}

void kp_sink_begun_before(struct kp_call_sink *sink, const struct kp_call *call)
{
    struct kp_sink_row *row = named_row_of(sink, call);
    if (row != NULL)
        row->row.begun_before++;
}

/* ---- giving ---- */

static size_t count_buckets(const struct kp_sink_rows *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->len; i++)
        for (int octave = 0; octave < KP_OCTAVES; octave++)
            for (int at = 0; rows->items[i].histogram.octaves[octave] && at < KP_BUCKETS_AN_OCTAVE;
                 at++)
                n += rows->items[i].histogram.octaves[octave][at] != 0;
    return n;
}

static void give_buckets(const struct kp_histogram *histogram, struct kp_call_summary *summary,
                         struct kp_call_row *row)
{
    row->first_bucket = summary->n_buckets;
    for (uint32_t bucket = 0; bucket < KP_BUCKETS; bucket++) {
        const uint64_t *octave = histogram->octaves[bucket / KP_BUCKETS_AN_OCTAVE];
        uint64_t count = octave == NULL ? 0 : octave[bucket % KP_BUCKETS_AN_OCTAVE];
        if (count != 0)
            summary->buckets[summary->n_buckets++] =
                (struct kp_call_bucket){.count = count, .bucket = bucket};
    }
    row->n_buckets = (uint32_t)(summary->n_buckets - row->first_bucket);
}

int kp_sink_summary(struct kp_call_sink *sink, struct kp_call_summary **out)
{
    const struct kp_sink_rows *rows = &sink->rows;
    struct kp_call_summary *summary = calloc(1, sizeof(*summary));
    size_t n_buckets = count_buckets(rows);
    if (summary != NULL) {
        summary->rows = calloc(rows->len + 1, sizeof(*summary->rows));
        summary->buckets = calloc(n_buckets + 1, sizeof(*summary->buckets));
    }
    if (summary == NULL || summary->rows == NULL || summary->buckets == NULL) {
        kp_call_summary_destroy(summary);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a summary");
    }
    for (size_t i = 0; i < rows->len; i++) {
        struct kp_call_row *row = &summary->rows[summary->n_rows++];
        *row = rows->items[i].row;
        give_buckets(&rows->items[i].histogram, summary, row);
    }
    summary->loss = sink->loss;
    *out = summary;
    return 0;
}

void kp_sink_forget_rows(struct kp_call_sink *sink)
{
    for (size_t i = 0; i < sink->rows.len; i++)
        kp_histogram_free(&sink->rows.items[i].histogram);
    sink->rows.len = 0;
    if (sink->rows.slots != NULL)
        memset(sink->rows.slots, 0, sink->rows.n_slots * sizeof(*sink->rows.slots));
    memset(&sink->loss, 0, sizeof(sink->loss));
}

/* The result of a list, with what must live as long as its pointers. */
struct given_calls {
    struct kp_calls calls; /* first: it is what the caller knows */
    struct kp_sink_list list;
};

void kp_calls_destroy(struct kp_calls *calls)
{
    struct given_calls *given = (struct given_calls *)calls;
    if (given == NULL)
        return;
    list_destroy(&given->list);
    free(calls->numbers);
    free(given);
}

static void point_into(struct given_calls *given)
{
    struct kp_sink_list *list = &given->list;
    struct kp_calls *calls = &given->calls;
    calls->start = (uint64_t *)list->start.base;
    calls->elapsed = (uint64_t *)list->elapsed.base;
    calls->ret = (int64_t *)list->ret.base;
    calls->pid = (int32_t *)list->pid.base;
    calls->tid = (int32_t *)list->tid.base;
    calls->comm = (uint32_t *)list->comm.base;
    calls->which = (uint16_t *)list->which.base;
    calls->cpu = (uint16_t *)list->cpu.base;
    calls->len = list->len;
    calls->strings = (char *)list->strings.bytes.base;
    calls->string_offset = (uint64_t *)list->strings.offset.base;
    calls->n_strings = list->strings.n;
}

int kp_sink_calls(struct kp_call_sink *sink, struct kp_calls **out)
{
    struct given_calls *given = calloc(1, sizeof(*given));
    struct kp_call_number *numbers = calloc(sink->n_numbers + 1, sizeof(*numbers));
    struct kp_sink_list fresh;
    if (given == NULL || numbers == NULL || list_create(&fresh, sink->list_bytes) != 0) {
        free(given);
        free(numbers);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a list of calls");
    }
    if (sink->n_numbers > 0)
        memcpy(numbers, sink->numbers, sink->n_numbers * sizeof(*numbers));
    given->list = sink->list;
    sink->list = fresh;
    given->calls.numbers = numbers;
    given->calls.n_numbers = sink->n_numbers;
    point_into(given);
    *out = &given->calls;
    return 0;
}

/* ---- creation ---- */

int kp_sink_create(struct kp_call_sink *sink, const struct kp_call_options *options)
{
    *sink = (struct kp_call_sink){
        .key = options->key, .with_list = options->with_list, .list_bytes = options->list_bytes};
    return sink->with_list ? list_create(&sink->list, sink->list_bytes) : 0;
}

void kp_sink_destroy(struct kp_call_sink *sink)
{
    kp_sink_forget_rows(sink);
    free(sink->rows.items);
    free(sink->rows.slots);
    free(sink->numbers);
    if (sink->with_list)
        list_destroy(&sink->list);
    memset(sink, 0, sizeof(*sink));
}
