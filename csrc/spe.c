/* SPDX-License-Identifier: Apache-2.0
 * Arm SPE: packets to records. Source of the formats: Arm Architecture Reference Manual (DDI 0487),
 * chapter on the Statistical Profiling Extension's sample record packets. */
#include "spe.h"

#include <string.h>

/* ---- packets ---- */

enum { EXTENDED = 0xff }; /* beside enum kp_spe_kind: the second byte says what it is */

/* What a header byte begins. */
static const uint8_t kinds[256] = {
    [0x00] = KP_SPE_PAD,
    [0x01] = KP_SPE_END,
    [0x20 ... 0x23] = EXTENDED,
    [0x42] = KP_SPE_EVENTS,
    [0x52] = KP_SPE_EVENTS,
    [0x62] = KP_SPE_EVENTS,
    [0x72] = KP_SPE_EVENTS,
    [0x43] = KP_SPE_SOURCE,
    [0x53] = KP_SPE_SOURCE,
    [0x63] = KP_SPE_SOURCE,
    [0x73] = KP_SPE_SOURCE,
    [0x48 ... 0x4b] = KP_SPE_OPERATION,
    [0x64 ... 0x67] = KP_SPE_CONTEXT,
    [0x71] = KP_SPE_TIMESTAMP,
    [0x98 ... 0x9f] = KP_SPE_COUNTER,
    [0xb0 ... 0xb7] = KP_SPE_ADDRESS,
};

/* Which of the header's bits are the packet's index. */
static const uint8_t index_masks[] = {
    [KP_SPE_CONTEXT] = 3, [KP_SPE_OPERATION] = 3, [KP_SPE_ADDRESS] = 7, [KP_SPE_COUNTER] = 7};

static uint64_t take_payload(const uint8_t *at, uint32_t size)
{
    uint64_t wide;
    uint32_t word;
    uint16_t half;
    switch (size) {
    case 8:
        memcpy(&wide, at, sizeof(wide));
        return wide;
    case 4:
        memcpy(&word, at, sizeof(word));
        return word;
    case 2:
        memcpy(&half, at, sizeof(half));
        return half;
    default:
        return *at;
    }
}

/* A run of padding: records are often filled up to a multiple of 64 bytes. */
static uint32_t padding(const uint8_t *at, size_t left)
{
    uint32_t n = 1;
    uint64_t word;
    for (; left - n >= sizeof(word) && n < 1 << 16; n += sizeof(word)) {
        memcpy(&word, at + n, sizeof(word));
        if (word != 0)
            return n + (uint32_t)__builtin_ctzll(word) / 8; /* little-endian: the lowest is first */
    }
    while (n < left && at[n] == 0)
        n++;
    return n;
}

static inline __attribute__((always_inline)) void
read_packet(const uint8_t *at, size_t left, uint64_t offset, struct kp_spe_packet *out);

/* A header of two bytes: an alignment, or an address or counter of a higher index. */
static void read_extended(const uint8_t *at, size_t left, uint64_t offset,
                          struct kp_spe_packet *out)
{
    out->kind = KP_SPE_BAD;
    out->size = 1;
    if (left < 2) {
        out->size = 0;
        return;
    }
    if (at[1] == 0) {
        uint64_t boundary = 2ull << (at[0] & 15);
        out->kind = KP_SPE_PAD;
        out->size = (uint32_t)(boundary - (offset & (boundary - 1)));
    } else if (kinds[at[1]] == KP_SPE_ADDRESS || kinds[at[1]] == KP_SPE_COUNTER) {
        read_packet(at + 1, left - 1, offset + 1, out);
        out->at = offset;
        out->index |= (uint8_t)((at[0] & 3) << 3);
        out->size += out->size > 0;
    }
    if (out->size > left)
        out->size = 0;
}

/* The packet at `at`, which has at least one byte. Its size is 0 where more bytes must come. */
static inline __attribute__((always_inline)) void
read_packet(const uint8_t *at, size_t left, uint64_t offset, struct kp_spe_packet *out)
{
    uint8_t header = *at, kind = kinds[header];
    *out = (struct kp_spe_packet){.at = offset, .kind = kind, .size = 1};
    switch (kind) {
    case KP_SPE_BAD:
    case KP_SPE_END:
        return;
    case KP_SPE_PAD:
        out->size = padding(at, left);
        return;
    case EXTENDED:
        read_extended(at, left, offset, out);
        return;
    default:
        break;
    }
    uint32_t payload = 1u << (header >> 4 & 3);
    out->size = left > payload ? payload + 1 : 0;
    if (out->size == 0)
        return;
    out->payload = take_payload(at + 1, payload);
    out->index = kind < sizeof(index_masks) ? header & index_masks[kind] : 0;
}

size_t kp_spe_packets(const uint8_t *bytes, size_t size, uint64_t offset,
                      struct kp_spe_packet *packets, size_t most, size_t *n_out)
{
    size_t at = 0, n = 0;
    while (at < size && n < most) {
        struct kp_spe_packet *packet = &packets[n++];
        read_packet(bytes + at, size - at, offset + at, packet);
        if (packet->size == 0) { /* cut: nothing tells what its bytes are */
            packet->kind = KP_SPE_BAD;
            packet->size = 1;
        }
        at += packet->size;
    }
    *n_out = n;
    return at;
}

/* ---- records ---- */

enum { EL0 = 0, EL3 = 3, NON_SECURE = 4 };

static const uint64_t LOW_56 = ~0ull >> 8;
static const uint64_t TOP_BYTE = 0xffull << 56;

/* The kernel's half of the address space is told by the exception level: the packet has 56 bits. */
static uint64_t code_address(uint64_t payload, uint8_t *level)
{
    uint8_t el = payload >> 61 & 3, non_secure = payload >> 63 ? NON_SECURE : 0;
    *level = el | non_secure;
    return (payload & LOW_56) | (non_secure && el != EL0 && el != EL3 ? TOP_BYTE : 0);
}

/* The top byte is a tag, and the kernel's half is told by the bits below it. */
static uint64_t data_address(uint64_t payload, uint8_t *tag)
{
    *tag = (uint8_t)(payload >> 56);
    return (payload & LOW_56) | ((payload >> 52 & 15) == 15 ? TOP_BYTE : 0);
}

static inline void put_address(struct kp_spe_record *record, uint8_t index, uint64_t payload)
{
    uint8_t ignored;
    switch (index) {
    case 0:
        record->pc = code_address(payload, &record->pc_level);
        record->has |= KP_SPE_HAS_PC;
        break;
    case 1:
        record->target = code_address(payload, &record->target_level);
        record->has |= KP_SPE_HAS_TARGET;
        break;
    case 2:
        record->va = data_address(payload, &record->va_tag);
        record->has |= KP_SPE_HAS_VA;
        break;
    case 3:
        record->pa = payload & LOW_56;
        record->pa_attributes = (uint8_t)(payload >> 56);
        record->has |= KP_SPE_HAS_PA;
        break;
    case 4:
        record->previous = code_address(payload, &ignored);
        record->has |= KP_SPE_HAS_PREVIOUS;
        break;
    default:
        break;
    }
}

static inline void put_counter(struct kp_spe_record *record, uint8_t index, uint64_t payload)
{
    switch (index) {
    case 0:
        record->total = (uint16_t)payload;
        record->has |= KP_SPE_HAS_TOTAL;
        break;
    case 1:
        record->issue = (uint16_t)payload;
        record->has |= KP_SPE_HAS_ISSUE;
        break;
    case 2:
        record->translation = (uint16_t)payload;
        record->has |= KP_SPE_HAS_TRANSLATION;
        break;
    default:
        break;
    }
}

static inline __attribute__((always_inline)) void
put(struct kp_spe_record *record, enum kp_spe_kind kind, uint8_t index, uint64_t payload)
{
    switch (kind) {
    case KP_SPE_TIMESTAMP:
        record->time = payload;
        record->has |= KP_SPE_HAS_TIME;
        break;
    case KP_SPE_EVENTS:
        record->events = payload;
        record->has |= KP_SPE_HAS_EVENTS;
        break;
    case KP_SPE_SOURCE:
        record->source = (uint32_t)payload;
        record->has |= KP_SPE_HAS_SOURCE;
        break;
    case KP_SPE_CONTEXT:
        record->context = (uint32_t)payload;
        record->has |= KP_SPE_HAS_CONTEXT;
        break;
    case KP_SPE_OPERATION:
        record->op = (uint16_t)(index << 8 | payload);
        record->has |= KP_SPE_HAS_OP;
        break;
    case KP_SPE_ADDRESS:
        put_address(record, index, payload);
        break;
    case KP_SPE_COUNTER:
        put_counter(record, index, payload);
        break;
    default:
        break;
    }
}

/* A time alone is no record: it is what is left of one whose beginning went lost. */
static void complete(struct kp_spe_decoder *decoder, kp_spe_fn *take, void *context)
{
    if (decoder->record.has & ~KP_SPE_HAS_TIME) {
        decoder->stats.records++;
        take(context, &decoder->record);
    }
    memset(&decoder->record, 0, sizeof(decoder->record));
}

/* Any packet, with every check. Returns its size; 0 where its end is not here. */
static size_t step(struct kp_spe_decoder *decoder, const uint8_t *bytes, size_t left,
                   uint64_t offset, kp_spe_fn *take, void *context)
{
    struct kp_spe_packet packet;
    read_packet(bytes, left, offset, &packet);
    if (packet.size == 0)
        return 0;
    if (packet.kind == KP_SPE_BAD)
        decoder->stats.corrupt++;
    put(&decoder->record, packet.kind, packet.index, packet.payload);
    if (packet.kind == KP_SPE_TIMESTAMP || packet.kind == KP_SPE_END)
        complete(decoder, take, context);
    return packet.size;
}

/* The packets that streams are made of, where the longest one would fit: their sizes are fixed.
 * Returns 0 for any other. */
static inline __attribute__((always_inline)) size_t
step_fast(struct kp_spe_decoder *decoder, const uint8_t *bytes, kp_spe_fn *take, void *context)
{
    uint8_t header = bytes[0], kind = kinds[header];
    switch (kind) {
    case KP_SPE_ADDRESS:
        put_address(&decoder->record, header & 7, take_payload(bytes + 1, 8));
        return 9;
    case KP_SPE_COUNTER:
        put_counter(&decoder->record, header & 7, take_payload(bytes + 1, 2));
        return 3;
    case KP_SPE_CONTEXT:
        put(&decoder->record, KP_SPE_CONTEXT, 0, take_payload(bytes + 1, 4));
        return 5;
    case KP_SPE_OPERATION:
        put(&decoder->record, KP_SPE_OPERATION, header & 3, bytes[1]);
        return 2;
    case KP_SPE_TIMESTAMP:
        put(&decoder->record, KP_SPE_TIMESTAMP, 0, take_payload(bytes + 1, 8));
        complete(decoder, take, context);
        return 9;
    default:
        return 0;
    }
}

/* Takes the packets that begin before `limit`; returns where it stopped: before a packet whose end
 * is not here, or at the limit. */
static size_t walk(struct kp_spe_decoder *decoder, const uint8_t *bytes, size_t size, size_t limit,
                   uint64_t offset, kp_spe_fn *take, void *context)
{
    size_t at = 0;
    while (at < limit) {
        size_t n = size - at < KP_SPE_LONGEST ? 0 : step_fast(decoder, bytes + at, take, context);
        if (n == 0)
            n = step(decoder, bytes + at, size - at, offset + at, take, context);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

static void keep(struct kp_spe_decoder *decoder, const uint8_t *bytes, size_t n)
{
    memcpy(decoder->carry, bytes, n);
    decoder->n_carry = n;
}

/* The packet that the end of the last chunk cut, with what follows in this one. Returns how much of
 * this one is used up. */
static size_t join(struct kp_spe_decoder *decoder, uint64_t offset, const uint8_t *bytes, size_t n,
                   kp_spe_fn *take, void *context)
{
    uint8_t joined[3 * KP_SPE_LONGEST];
    size_t before = decoder->n_carry;
    size_t more = n < 2 * KP_SPE_LONGEST ? n : 2 * KP_SPE_LONGEST;
    if (before == 0)
        return 0;
    memcpy(joined, decoder->carry, before);
    memcpy(joined + before, bytes, more);
    size_t at = walk(decoder, joined, before + more, before, offset - before, take, context);
    decoder->n_carry = 0;
    if (at >= before)
        return at - before;
    keep(decoder, joined + at, before + more - at); /* the chunk was shorter than the packet */
    return n;
}

void kp_spe_feed(struct kp_spe_decoder *decoder, uint64_t offset, const uint8_t *bytes, size_t n,
                 kp_spe_fn *take, void *context)
{
    if (offset != decoder->next)
        kp_spe_finish(decoder);
    decoder->next = offset + n;
    decoder->stats.bytes += n;
    size_t used = n == 0 ? 0 : join(decoder, offset, bytes, n, take, context);
    if (used == n)
        return;
    bytes += used;
    n -= used;
    size_t at = walk(decoder, bytes, n, n, offset + used, take, context);
    keep(decoder, bytes + at, n - at);
}

void kp_spe_finish(struct kp_spe_decoder *decoder)
{
    decoder->stats.cut += decoder->record.has != 0 || decoder->n_carry != 0;
    decoder->n_carry = 0;
    memset(&decoder->record, 0, sizeof(decoder->record));
}
