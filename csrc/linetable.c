/* SPDX-License-Identifier: Apache-2.0
 * DWARF line programs, versions 2 to 5: which line of which file an address was made from.
 *
 * A program is a string of operations that change a row (address, file, line) and emit it; rows
 * follow each other in ascending order up to the end of a sequence. Programs are not to be trusted:
 * whatever makes no sense ends the one it stands in. */
#include "kperf_core.h"

#include <string.h>

enum {
    EXTENDED = 0,
    COPY = 1,
    ADVANCE_ADDRESS = 2,
    ADVANCE_LINE = 3,
    SET_FILE = 4,
    ADVANCE_AS_255 = 8,
    ADVANCE_FIXED = 9,
    END_SEQUENCE = 1, /* extended ones */
    SET_ADDRESS = 2
};

struct bytes {
    const uint8_t *at;
    const uint8_t *end;
};

struct program {
    uint64_t offset;
    struct bytes operations;
    uint8_t least_instruction;
    int8_t line_base;
    uint8_t line_range;
    uint8_t first_special;
    const uint8_t *operands; /* how many each standard operation has, from 1 on */
};

struct row {
    uint64_t address;
    uint64_t file;
    uint64_t line;
};

struct state {
    struct row row;
    struct row last; /* as it was emitted, if any was */
    uint64_t first;  /* address of the sequence's first row */
    size_t next;     /* the first wanted address that is not below the last row's */
    int has_last;
};

struct query {
    const uint64_t *addresses;
    size_t n;
    struct kp_line *found;
};

/* ---- bytes; what is beyond the end reads as 0 ---- */

static size_t left(const struct bytes *bytes)
{
    return (size_t)(bytes->end - bytes->at);
}

static uint64_t take(struct bytes *bytes, size_t size)
{
    uint64_t value = 0;
    if (left(bytes) < size) {
        bytes->at = bytes->end;
        return 0;
    }
    for (size_t i = size; i-- > 0;)
        value = value << 8 | bytes->at[i];
    bytes->at += size;
    return value;
}

static struct bytes take_bytes(struct bytes *bytes, uint64_t size)
{
    struct bytes part = {bytes->at, size < left(bytes) ? bytes->at + size : bytes->end};
    bytes->at = part.end;
    return part;
}

/* LEB128: seven bits a byte, the lowest first; the sign is bit 6 of the last one. */
static uint64_t take_leb(struct bytes *bytes, int is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    while (bytes->at < bytes->end) {
        uint8_t byte = *bytes->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if ((byte & 0x80) == 0) {
            if (is_signed && shift < 64 && (byte & 0x40) != 0)
                value |= UINT64_MAX << shift;
            break;
        }
    }
    return value;
}

/* ---- headers ---- */

/* The part of the section that one program takes, header and all; its offsets have *wide bytes. */
static struct bytes take_unit(struct bytes *section, size_t *wide)
{
    uint64_t size = take(section, 4);
    *wide = size == UINT32_MAX ? 8 : 4;
    return take_bytes(section, *wide == 8 ? take(section, 8) : size);
}

/* Fills in what is needed to run a program; 0 for one that is not understood. */
static int read_header(struct bytes unit, size_t wide, struct program *out)
{
    uint64_t version = take(&unit, 2);
    if (version < 2 || version > 5)
        return 0;
    if (version >= 5)
        take(&unit, 2); /* sizes of addresses and of segment selectors */
    uint64_t header_size = take(&unit, wide);
    struct bytes header = take_bytes(&unit, header_size);
    out->least_instruction = (uint8_t)take(&header, 1);
    if (version >= 4)
        take(&header, 1); /* operations an instruction: more than 1 on no machine of ours */
    take(&header, 1);     /* whether rows begin as statements */
    out->line_base = (int8_t)take(&header, 1);
    out->line_range = (uint8_t)take(&header, 1);
    out->first_special = (uint8_t)take(&header, 1);
    out->operands = header.at;
    out->operations = unit;
    return out->line_range != 0 && out->first_special != 0 &&
           left(&header) >= (size_t)(out->first_special - 1);
}

/* ---- rows ---- */

/* The first wanted address that is not below another one. */
static size_t first_from(const struct query *query, uint64_t address)
{
    size_t low = 0, high = query->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (query->addresses[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void answer(const struct query *query, const struct program *program, const struct row *row,
                   size_t at)
{
    struct kp_line *line = &query->found[at];
    if (line->program == KP_NO_PROGRAM)
        *line = (struct kp_line){.program = program->offset,
                                 .file = row->file,
                                 .line = row->line <= UINT32_MAX ? (uint32_t)row->line : 0};
}

/* The addresses from the last row up to this one are the last one's. Functions that the linker
 * dropped have sequences that begin at 0. */
static void emit(const struct query *query, const struct program *program, struct state *state)
{
    uint64_t address = state->row.address;
    if (!state->has_last)
        state->first = address;
    if (!state->has_last || address < state->last.address)
        state->next = first_from(query, address);
    else if (state->first != 0)
        for (; state->next < query->n && query->addresses[state->next] < address; state->next++)
            answer(query, program, &state->last, state->next);
    state->last = state->row;
    state->has_last = 1;
}

static struct state at_start(void)
{
    return (struct state){.row = {.file = 1, .line = 1}};
}

static void advance(struct state *state, const struct program *program, uint64_t operation)
{
    state->row.address += operation * program->least_instruction;
}

static void run_special(const struct query *query, const struct program *program,
                        struct state *state, uint8_t operation)
{
    unsigned adjusted = (unsigned)operation - program->first_special;
    advance(state, program, adjusted / program->line_range);
    state->row.line +=
        (uint64_t)(int64_t)(program->line_base + (int)(adjusted % program->line_range));
    emit(query, program, state);
}

static void run_extended(const struct query *query, const struct program *program,
                         struct state *state, struct bytes *operations)
{
    struct bytes operands = take_bytes(operations, take_leb(operations, 0));
    size_t size = left(&operands);
    uint64_t operation = take(&operands, 1);
    if (operation == END_SEQUENCE && size > 0) {
        emit(query, program, state);
        *state = at_start();
    } else if (operation == SET_ADDRESS && size > 1 && size <= 9) {
        state->row.address = take(&operands, size - 1);
    }
}

static void run_standard(const struct query *query, const struct program *program,
                         struct state *state, uint8_t operation, struct bytes *operations)
{
    switch (operation) {
    case COPY:
        emit(query, program, state);
        break;
    case ADVANCE_ADDRESS:
        advance(state, program, take_leb(operations, 0));
        break;
    case ADVANCE_LINE:
        state->row.line += take_leb(operations, 1);
        break;
    case SET_FILE:
        state->row.file = take_leb(operations, 0);
        break;
    case ADVANCE_AS_255:
        advance(state, program, (255u - program->first_special) / program->line_range);
        break;
    case ADVANCE_FIXED:
        state->row.address += take(operations, 2);
        break;
    default:
        for (uint8_t i = program->operands[operation - 1]; i > 0; i--)
            take_leb(operations, 0);
    }
}

static void run(const struct query *query, const struct program *program)
{
    struct bytes operations = program->operations;
    struct state state = at_start();
    while (operations.at < operations.end) {
        uint8_t operation = (uint8_t)take(&operations, 1);
        if (operation >= program->first_special)
            run_special(query, program, &state, operation);
        else if (operation == EXTENDED)
            run_extended(query, program, &state, &operations);
        else
            run_standard(query, program, &state, operation, &operations);
    }
}

void kp_lines_find(const uint8_t *section, size_t size, const uint64_t *addresses, size_t n,
                   struct kp_line *out)
{
    struct query query = {.addresses = addresses, .n = n, .found = out};
    struct bytes rest = {section, section + size};
    for (size_t i = 0; i < n; i++)
        out[i] = (struct kp_line){.program = KP_NO_PROGRAM};
    while (left(&rest) >= 4) {
        struct program program = {.offset = (uint64_t)(rest.at - section)};
        size_t wide;
        struct bytes unit = take_unit(&rest, &wide);
        if (read_header(unit, wide, &program))
            run(&query, &program);
    }
}
