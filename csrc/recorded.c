/* SPDX-License-Identifier: Apache-2.0
 * Records that others asked the kernel for, in the layout that the core asks for itself: so that
 * what reads rings reads recordings as well. Source of the layouts: perf_event_open(2). */
#include "recorded.h"

#include "perf_abi.h"

#include <string.h>

/* ---- reading ---- */

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    int bad;
};

static const uint8_t *skip(struct cursor *cursor, uint64_t size)
{
    const uint8_t *at = cursor->at;
    if (size > (uint64_t)(cursor->end - at)) {
        cursor->bad = 1;
        cursor->at = cursor->end;
        return NULL;
    }
    cursor->at += size;
    return at;
}

static uint64_t word(struct cursor *cursor)
{
    uint64_t value = 0;
    const uint8_t *at = skip(cursor, sizeof(value));
    if (at != NULL)
        memcpy(&value, at, sizeof(value));
    return value;
}

/* ---- writing ---- */

struct writer {
    uint8_t *base;
    size_t used;
    int full;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (size > KP_RECORD_MOST - writer->used) {
        writer->full = 1;
        return;
    }
    memcpy(writer->base + writer->used, bytes, size);
    writer->used += size;
}

static void put_word(struct writer *writer, uint64_t value)
{
    put(writer, &value, sizeof(value));
}

static struct writer begin(uint8_t *out, uint32_t type, uint16_t misc)
{
    struct writer writer = {.base = out};
    struct kp_record_header header = {.type = type, .misc = misc};
    put(&writer, &header, sizeof(header));
    return writer;
}

/* Returns the record's size, or -1 where it became too long. */
static int64_t end(struct writer *writer)
{
    static const uint8_t zeros[8];
    put(writer, zeros, (8 - writer->used % 8) % 8);
    if (writer->full)
        return -1;
    uint16_t size = (uint16_t)writer->used;
    memcpy(writer->base + offsetof(struct kp_record_header, size), &size, sizeof(size));
    return size;
}

/* ---- whose record it is ---- */

static int64_t event_of(const struct kp_layout *layout, uint64_t id)
{
    for (size_t event = 0; event < layout->n_events; event++)
        for (uint32_t i = 0; i < layout->events[event].n_ids; i++)
            if (layout->events[event].ids[i] == id)
                return (int64_t)event;
    return layout->n_events == 1 ? 0 : -1;
}

/* Where the identifier stands in a sample, in words behind the header; -1: it has none. All events
 * of a recording agree on it. */
static int id_place(uint64_t sample_type)
{
    static const uint64_t before[] = {KP_SAMPLE_IP, KP_SAMPLE_TID, KP_SAMPLE_TIME, KP_SAMPLE_ADDR};
    int place = 0;
    if (sample_type & KP_SAMPLE_IDENTIFIER)
        return 0;
    if (!(sample_type & KP_SAMPLE_ID))
        return -1;
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
        place += (sample_type & before[i]) != 0;
    return place;
}

static int64_t event_of_sample(const struct kp_layout *layout, struct cursor body)
{
    int place = id_place(layout->events[0].sample_type);
    if (place < 0)
        return layout->n_events == 1 ? 0 : -1;
    skip(&body, (uint64_t)place * sizeof(uint64_t));
    uint64_t id = word(&body);
    return body.bad ? -1 : event_of(layout, id);
}

/* ---- samples ---- */

/* The counters' values that a sample may carry. */
static void skip_read(struct cursor *body, uint64_t format)
{
    uint64_t times = ((format & KP_FORMAT_ENABLED) != 0) + ((format & KP_FORMAT_RUNNING) != 0);
    uint64_t each = 1 + ((format & KP_FORMAT_ID) != 0) + ((format & KP_FORMAT_LOST) != 0);
    uint64_t n = format & KP_FORMAT_GROUP ? word(body) : 1;
    if (n > KP_RECORD_MOST)
        body->bad = 1;
    else
        skip(body, (times + n * each) * sizeof(uint64_t));
}

/* Items of `width` bytes behind their number. */
struct items {
    uint64_t n;
    const uint8_t *bytes;
    size_t size;
};

static struct items take_items(struct cursor *body, uint64_t n, size_t width)
{
    struct items items = {.n = n};
    if (n > KP_RECORD_MOST) {
        body->bad = 1;
        return items;
    }
    items.size = (size_t)n * width;
    items.bytes = skip(body, items.size);
    return items;
}

/* The bytes of a tracepoint behind their size, padded to 8 together with it. */
static struct items take_raw(struct cursor *body)
{
    uint32_t size = 0;
    const uint8_t *at = skip(body, sizeof(size));
    if (at != NULL)
        memcpy(&size, at, sizeof(size));
    struct items raw = take_items(body, size, 1);
    skip(body, (8 - (sizeof(size) + (uint64_t)size) % 8) % 8);
    return raw;
}

static void put_raw(struct writer *writer, const struct items *raw)
{
    static const uint8_t zeros[8];
    uint32_t size = (uint32_t)raw->size;
    put(writer, &size, sizeof(size));
    if (raw->bytes != NULL)
        put(writer, raw->bytes, raw->size);
    put(writer, zeros, (8 - (sizeof(size) + raw->size) % 8) % 8);
}

static void put_items(struct writer *writer, const struct items *items)
{
    put_word(writer, items->bytes == NULL ? 0 : items->n);
    if (items->bytes != NULL)
        put(writer, items->bytes, items->size);
}

/* What of a sample is kept. */
struct fields {
    uint64_t ip, tid, time, addr, cpu, period;
    struct items chain, raw, branches;
};

/* What stands for a thread or a CPU that was not recorded: -1, in the one as in the other. */
static const uint64_t NOBODY = UINT64_MAX, NOWHERE = UINT32_MAX;

static uint64_t word_of(struct cursor *body, uint64_t sample_type, uint64_t field)
{
    return sample_type & field ? word(body) : 0;
}

static struct fields read_fields(const struct kp_recorded_event *event, struct cursor *body)
{
    uint64_t type = event->sample_type;
    struct fields fields = {0};
    word_of(body, type, KP_SAMPLE_IDENTIFIER);
    fields.ip = word_of(body, type, KP_SAMPLE_IP);
    fields.tid = type & KP_SAMPLE_TID ? word(body) : NOBODY;
    fields.time = word_of(body, type, KP_SAMPLE_TIME);
    fields.addr = word_of(body, type, KP_SAMPLE_ADDR);
    word_of(body, type, KP_SAMPLE_ID);
    word_of(body, type, KP_SAMPLE_STREAM_ID);
    fields.cpu = type & KP_SAMPLE_CPU ? word(body) : NOWHERE;
    fields.period = word_of(body, type, KP_SAMPLE_PERIOD);
    if (type & KP_SAMPLE_READ)
        skip_read(body, event->read_format);
    if (type & KP_SAMPLE_CALLCHAIN)
        fields.chain = take_items(body, word(body), sizeof(uint64_t));
    if (type & KP_SAMPLE_RAW)
        fields.raw = take_raw(body);
    if (type & KP_SAMPLE_BRANCH_STACK) {
        uint64_t n = word(body);
        if (event->branch_sample_type & KP_BRANCH_HW_INDEX)
            word(body);
        fields.branches = take_items(body, n, KP_BRANCH_ENTRY);
    }
    return fields;
}

static int64_t translate_sample(const struct kp_layout *layout, uint16_t misc, struct cursor body,
                                uint8_t *out)
{
    int64_t number = event_of_sample(layout, body);
    if (number < 0)
        return -1;
    const struct kp_recorded_event *event = &layout->events[number];
    struct fields fields = read_fields(event, &body);
    if (body.bad)
        return -1;
    struct writer writer = begin(out, KP_RECORD_SAMPLE, misc);
    put_word(&writer, (uint64_t)number + 1);
    put_word(&writer, fields.ip);
    put_word(&writer, fields.tid);
    put_word(&writer, fields.time);
    if (layout->sampling_flags & KP_SAMPLING_ADDR)
        put_word(&writer, fields.addr);
    put_word(&writer, fields.cpu);
    if (event->period == 0)
        put_word(&writer, event->sample_type & KP_SAMPLE_PERIOD ? fields.period : 1);
    if (layout->sampling_flags & KP_SAMPLING_CALLCHAIN)
        put_items(&writer, &fields.chain);
    if (layout->sampling_flags & KP_SAMPLING_RAW)
        put_raw(&writer, &fields.raw);
    if (layout->sampling_flags & KP_RECORDED_BRANCHES)
        put_items(&writer, &fields.branches);
    return end(&writer);
}

/* ---- what is told beside samples ---- */

/* The fields behind such a record, in their order. */
static const uint64_t TRAILER[] = {KP_SAMPLE_TID,       KP_SAMPLE_TIME, KP_SAMPLE_ID,
                                   KP_SAMPLE_STREAM_ID, KP_SAMPLE_CPU,  KP_SAMPLE_IDENTIFIER};

enum { N_TRAILER = sizeof(TRAILER) / sizeof(TRAILER[0]) };

struct trailer {
    uint64_t tid, time, id, cpu;
};

/* Takes it off the end of the body. */
static struct trailer take_trailer(const struct kp_layout *layout, struct cursor *body)
{
    uint64_t words[N_TRAILER] = {0};
    uint64_t type = layout->events[0].sample_id_all ? layout->events[0].sample_type : 0;
    for (size_t i = N_TRAILER; i-- > 0;) {
        if (!(type & TRAILER[i]))
            continue;
        if (body->end - body->at < 8) {
            body->bad = 1;
            break;
        }
        body->end -= 8;
        memcpy(&words[i], body->end, 8);
    }
    return (struct trailer){.tid = words[0],
                            .time = words[1],
                            .id = type & KP_SAMPLE_IDENTIFIER ? words[5] : words[2],
                            .cpu = words[4]};
}

static int64_t end_with_trailer(struct writer *writer, const struct trailer *trailer,
                                uint64_t identifier)
{
    static const uint8_t zeros[8];
    put(writer, zeros, (8 - writer->used % 8) % 8);
    put_word(writer, trailer->tid);
    put_word(writer, trailer->time);
    put_word(writer, trailer->cpu);
    put_word(writer, identifier);
    return end(writer);
}

/* The older record of a mapping, without the file's identity. */
static int64_t translate_mmap(uint16_t misc, struct cursor body, const struct trailer *trailer,
                              uint8_t *out)
{
    static const uint8_t unknown[24 + 8];
    const uint8_t *place = skip(&body, 4 * sizeof(uint64_t)); /* pid, tid, start, length, offset */
    if (place == NULL)
        return -1;
    struct writer writer = begin(out, KP_RECORD_MMAP2, misc & (uint16_t)~KP_MISC_MMAP_BUILD_ID);
    put(&writer, place, 4 * sizeof(uint64_t));
    put(&writer, unknown, sizeof(unknown));
    put(&writer, body.at, (size_t)(body.end - body.at));
    return end_with_trailer(&writer, trailer, 0);
}

/* The kernel leaves the mark of a build-id in a record that it writes for several events, also for
 * those that asked for none: theirs has an inode in its place. */
static uint16_t true_misc(const struct kp_layout *layout, uint32_t type, uint16_t misc)
{
    if (type != KP_RECORD_MMAP2)
        return misc;
    for (size_t i = 0; i < layout->n_events; i++)
        if (layout->events[i].build_id)
            return misc;
    return misc & (uint16_t)~KP_MISC_MMAP_BUILD_ID;
}

static int64_t translate_side(const struct kp_layout *layout, uint32_t type, uint16_t misc,
                              struct cursor body, uint8_t *out)
{
    struct trailer trailer = take_trailer(layout, &body);
    if (body.bad)
        return -1;
    if (type == KP_RECORD_MMAP)
        return translate_mmap(misc, body, &trailer, out);
    uint64_t identifier = 0;
    if (type == KP_RECORD_LOST || type == KP_RECORD_LOST_SAMPLES || type == KP_RECORD_THROTTLE) {
        int64_t event = event_of(layout, trailer.id);
        identifier = event < 0 ? 0 : (uint64_t)event + 1;
    }
    struct writer writer = begin(out, type, true_misc(layout, type, misc));
    put(&writer, body.at, (size_t)(body.end - body.at));
    /* Without the trailer's time, the record's own is the time. */
    if (trailer.time == 0 && (type == KP_RECORD_FORK || type == KP_RECORD_EXIT) &&
        body.end - body.at >= 24)
        memcpy(&trailer.time, body.at + 16, sizeof(trailer.time));
    return end_with_trailer(&writer, &trailer, identifier);
}

static int is_map(uint32_t type)
{
    return type == KP_RECORD_MMAP || type == KP_RECORD_MMAP2;
}

static int is_side(uint32_t type)
{
    static const uint32_t known[] = {KP_RECORD_MMAP,     KP_RECORD_LOST,        KP_RECORD_COMM,
                                     KP_RECORD_EXIT,     KP_RECORD_FORK,        KP_RECORD_MMAP2,
                                     KP_RECORD_THROTTLE, KP_RECORD_LOST_SAMPLES};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i] == type)
            return 1;
    return 0;
}

int64_t kp_recorded_translate(const struct kp_layout *layout, const uint8_t *record, size_t size,
                              uint8_t *out)
{
    struct kp_record_header header;
    if (size < sizeof(header) || layout->n_events == 0)
        return -1;
    memcpy(&header, record, sizeof(header));
    struct cursor body = {.at = record + sizeof(header), .end = record + size};
    if (header.type == KP_RECORD_SAMPLE)
        return translate_sample(layout, header.misc, body, out);
    if ((header.misc & KP_MISC_CPUMODE) == KP_MISC_KERNEL && is_map(header.type))
        return 0; /* the kernel's own code needs no mapping: its symbols tell */
    return is_side(header.type) ? translate_side(layout, header.type, header.misc, body, out) : 0;
}
