/* SPDX-License-Identifier: Apache-2.0
 * Sorted symbols and their lookup by address. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* qsort_r */
#endif
#include "symindex.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_SYMBOLS = 1 << 8,
    FIRST_NAMES = 1 << 12,
    PAGE = 4096,
    NAME_MAX_BYTES = 1 << 16, /* longer names are cut: no line of output can hold them */
    NAMES_SHARE = 8,          /* how often the names of a table may share its bytes */
    NAMES_LEAST = 1 << 20,
    STT_NOTYPE = 0,
    STT_FUNC = 2,
    STT_GNU_IFUNC = 10,
    STB_GLOBAL = 1,
    STB_WEAK = 2,
    SHN_UNDEF = 0,
    SHN_COMMON = 0xfff2
};

/* Where two symbols begin at one address the higher grade names it: what perf prefers, so that
 * names equal its names. */
enum grade {
    GRADE_MARK, /* ends the symbol before it, and names nothing: data among code */
    GRADE_LABEL_WEAK,
    GRADE_LABEL_LOCAL,
    GRADE_LABEL_GLOBAL,
    GRADE_WEAK,
    GRADE_LOCAL,
    GRADE_GLOBAL
};

struct entry {
    uint64_t start;
    uint64_t end;   /* start: as long as there is room */
    uint64_t limit; /* where that room ends at the latest */
    uint32_t name;
    uint32_t order; /* of its line: a perf map's later lines override earlier ones */
    uint32_t group; /* kallsyms: its module */
    uint8_t grade;
};

struct kp_symbuild {
    struct entry *entries;
    size_t n;
    size_t room;
    char *names;
    size_t names_used;
    size_t names_room;
    int32_t later_wins;
};

/* ---- gathering ---- */

int kp_symbuild_create(struct kp_symbuild **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : kp_fail(KP_E_NOMEM, ENOMEM, "no memory for symbols");
}

void kp_symbuild_destroy(struct kp_symbuild *build)
{
    if (build == NULL)
        return;
    free(build->entries);
    free(build->names);
    free(build);
}

static int grow(void **base, size_t *room, size_t wanted, size_t item, size_t first)
{
    if (wanted <= *room)
        return 0;
    size_t larger = *room != 0 ? *room : first;
    while (larger < wanted)
        larger += larger / 2 + 1;
    void *moved = realloc(*base, larger * item);
    if (moved == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for symbols");
    *base = moved;
    *room = larger;
    return 0;
}

static int add_name(struct kp_symbuild *build, const char *name, size_t size, uint32_t *out)
{
    size = size < NAME_MAX_BYTES ? size : NAME_MAX_BYTES;
    size_t used = build->names_used;
    if (used + size + 1 > UINT32_MAX)
        return kp_fail(KP_E_NOMEM, ENOMEM, "more than 4 GB of symbol names");
    int rc = grow((void **)&build->names, &build->names_room, used + size + 1, 1, FIRST_NAMES);
    if (rc != 0)
        return rc;
    memcpy(build->names + used, name, size);
    build->names[used + size] = '\0';
    build->names_used = used + size + 1;
    *out = (uint32_t)used;
    return 0;
}

static int add_entry(struct kp_symbuild *build, struct entry entry, const char *name, size_t size)
{
    if (build->n >= UINT32_MAX / 4)
        return kp_fail(KP_E_NOMEM, ENOMEM, "more than a billion symbols");
    int rc = grow((void **)&build->entries, &build->room, build->n + 1, sizeof(*build->entries),
                  FIRST_SYMBOLS);
    if (rc == 0)
        rc = add_name(build, name, size, &entry.name);
    if (rc != 0)
        return rc;
    entry.order = (uint32_t)build->n;
    build->entries[build->n++] = entry;
    return 0;
}

static uint64_t end_of(uint64_t start, uint64_t size)
{
    return size > UINT64_MAX - start ? UINT64_MAX : start + size;
}

/* ---- ELF ---- */

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

struct elf_symbol {
    uint64_t value;
    uint64_t size;
    uint32_t name;
    uint16_t section;
    uint8_t type;
    uint8_t binding;
};

enum { ELF32_SYMBOL = 16, ELF64_SYMBOL = 24 };

static struct elf_symbol read_symbol(const uint8_t *at, int is_64)
{
    uint8_t info = at[is_64 ? 4 : 12];
    return (struct elf_symbol){
        .name = (uint32_t)get(at, 4),
        .value = is_64 ? get(at + 8, 8) : get(at + 4, 4),
        .size = is_64 ? get(at + 16, 8) : get(at + 8, 4),
        .section = (uint16_t)get(at + (is_64 ? 6 : 14), 2),
        .type = info & 0xf,
        .binding = info >> 4,
    };
}

/* $a, $d, $t, $x and $x.anything mark where code and data begin on Arm; .L is an assembler's own.
 */
static int is_marker(const char *name)
{
    if (name[0] == '$')
        return strchr("adtx", name[1]) != NULL && name[1] != '\0' &&
               (name[2] == '\0' || name[2] == '.');
    return name[0] == '.' && name[1] == 'L';
}

static uint8_t grade_of(int is_function, uint8_t binding)
{
    uint8_t weak = is_function ? GRADE_WEAK : GRADE_LABEL_WEAK;
    if (binding == STB_WEAK)
        return weak;
    return binding == 0 ? (uint8_t)(weak + 1) : (uint8_t)(weak + 2); /* STB_GNU_UNIQUE is global */
}

/* The section that a symbol lies in. Tools that remove sections leave the numbers in .dynsym as
 * they were: one whose section does not hold it has none. */
static const struct kp_section *section_of(const struct elf_symbol *symbol,
                                           const struct kp_section *sections, size_t n_sections)
{
    if (symbol->section >= n_sections)
        return NULL;
    const struct kp_section *section = &sections[symbol->section];
    int holds = symbol->value >= section->start && symbol->value < section->end;
    return holds ? section : NULL;
}

/* Fills in the entry of a symbol that names code; 0 for one that does not. */
static int elf_entry(const struct elf_symbol *symbol, const struct kp_section *sections,
                     size_t n_sections, struct entry *out)
{
    int is_function = symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC;
    if (symbol->section == SHN_UNDEF || symbol->section == SHN_COMMON)
        return 0;
    const struct kp_section *section = section_of(symbol, sections, n_sections);
    int is_code = section != NULL && section->executable;
    if (!is_code && (!is_function || section != NULL))
        return 0;
    if (!is_function && symbol->type != STT_NOTYPE)
        return 0;
    uint64_t end = end_of(symbol->value, symbol->size);
    *out = (struct entry){
        .start = symbol->value,
        .end = section != NULL && end > section->end ? section->end : end,
        .limit = section != NULL ? section->end : end_of(symbol->value, PAGE),
        .grade = grade_of(is_function, symbol->binding),
    };
    return 1;
}

int kp_symbuild_add_elf(struct kp_symbuild *build, int32_t is_64, const uint8_t *symbols,
                        size_t symbols_size, const char *names, size_t names_size,
                        const struct kp_section *sections, size_t n_sections, uint64_t shift)
{
    size_t item = is_64 ? ELF64_SYMBOL : ELF32_SYMBOL;
    /* A table whose million names are all one endless name would fill the memory. */
    uint64_t most_names = build->names_used + NAMES_SHARE * (uint64_t)names_size + NAMES_LEAST;
    int rc = 0;
    for (size_t at = 0; rc == 0 && symbols_size - at >= item; at += item) {
        if (build->names_used > most_names)
            break;
        struct elf_symbol symbol = read_symbol(symbols + at, is_64);
        struct entry entry;
        if (symbol.name >= names_size || names[symbol.name] == '\0' ||
            !elf_entry(&symbol, sections, n_sections, &entry))
            continue;
        const char *name = names + symbol.name;
        size_t most = names_size - symbol.name;
        size_t size = strnlen(name, most < NAME_MAX_BYTES ? most : NAME_MAX_BYTES);
        if (size == most || (symbol.type == STT_NOTYPE && is_marker(name)))
            continue;
        entry.start += shift;
        entry.end += shift;
        entry.limit += shift;
        if (entry.end >= entry.start && entry.limit >= entry.start)
            rc = add_entry(build, entry, name, size);
    }
    return rc;
}

/* ---- text ---- */

struct text {
    const char *at;
    const char *end;
};

static int take_hex(struct text *text, uint64_t *out)
{
    uint64_t value = 0;
    const char *first = text->at;
    for (; text->at < text->end && text->at - first <= 16; text->at++) {
        unsigned char c = (unsigned char)*text->at;
        unsigned char digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : 16;
        if (digit == 16)
            break;
        value = value << 4 | digit;
    }
    *out = value;
    return text->at > first && text->at - first <= 16;
}

static int take_blank(struct text *text)
{
    if (text->at == text->end || *text->at != ' ')
        return 0;
    text->at++;
    return 1;
}

static struct text take_line(struct text *text)
{
    const char *newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
    struct text line = {text->at, newline != NULL ? newline : text->end};
    text->at = newline != NULL ? newline + 1 : text->end;
    return line;
}

static uint32_t hash_of(const char *text, size_t size)
{
    uint32_t mixed = 0x811c9dc5u;
    for (size_t i = 0; i < size; i++)
        mixed = (mixed ^ (uint8_t)text[i]) * 0x01000193u;
    return mixed;
}

static uint8_t kallsyms_grade(char type)
{
    switch (type) {
    case 'T':
        return GRADE_GLOBAL;
    case 't':
        return GRADE_LOCAL;
    case 'w':
    case 'W':
        return GRADE_WEAK;
    default:
        return GRADE_MARK;
    }
}

/* "ffffffff81000000 T _stext", or with "\t[module]" behind it. */
static int add_kallsyms_line(struct kp_symbuild *build, struct text line)
{
    struct entry entry = {0};
    if (!take_hex(&line, &entry.start) || !take_blank(&line) || line.end - line.at < 3)
        return 0;
    entry.grade = kallsyms_grade(*line.at++);
    if (!take_blank(&line))
        return 0;
    size_t size = (size_t)(line.end - line.at);
    const char *module = memchr(line.at, '\t', size);
    entry.group = module != NULL ? hash_of(module, (size_t)(line.end - module)) : 0;
    entry.end = entry.start;
    entry.limit = UINT64_MAX;
    return add_entry(build, entry, line.at, entry.grade == GRADE_MARK ? 0 : size);
}

int kp_symbuild_add_kallsyms(struct kp_symbuild *build, const char *text, size_t size)
{
    struct text rest = {text, text + size};
    int rc = 0;
    while (rc == 0 && rest.at < rest.end)
        rc = add_kallsyms_line(build, take_line(&rest));
    return rc;
}

static void take_prefix(struct text *text)
{
    if (text->end - text->at > 2 && text->at[0] == '0' && (text->at[1] | 0x20) == 'x')
        text->at += 2;
}

/* "7f3c80001000 1c0 name that may hold blanks" */
static int add_perf_map_line(struct kp_symbuild *build, struct text line)
{
    struct entry entry = {.grade = GRADE_GLOBAL};
    uint64_t size;
    take_prefix(&line);
    if (!take_hex(&line, &entry.start) || !take_blank(&line))
        return 0;
    take_prefix(&line);
    if (!take_hex(&line, &size) || !take_blank(&line) || size == 0 || line.at == line.end)
        return 0;
    if (size > UINT64_MAX - entry.start || memchr(line.at, '\0', (size_t)(line.end - line.at)))
        return 0;
    entry.end = entry.limit = entry.start + size;
    return add_entry(build, entry, line.at, (size_t)(line.end - line.at));
}

int kp_symbuild_add_perf_map(struct kp_symbuild *build, const char *text, size_t size)
{
    struct text rest = {text, text + size};
    int rc = 0;
    build->later_wins = 1;
    while (rc == 0 && rest.at < rest.end)
        rc = add_perf_map_line(build, take_line(&rest));
    return rc;
}

/* ---- sorting ---- */

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static size_t underscores(const char *name)
{
    return strspn(name, "_");
}

/* At one address the preferred symbol comes last. */
static int prefer(const struct entry *a, const struct entry *b, const char *names)
{
    int sized = compare(a->end > a->start, b->end > b->start);
    if (sized != 0)
        return sized;
    if (a->grade != b->grade)
        return compare(a->grade, b->grade);
    const char *a_name = names + a->name, *b_name = names + b->name;
    int rc = compare(underscores(b_name), underscores(a_name));
    if (rc == 0)
        rc = compare(strlen(a_name), strlen(b_name));
    if (rc == 0)
        rc = strcmp(b_name, a_name);
    return rc != 0 ? rc : compare(b->order, a->order);
}

static int by_preference(const void *left, const void *right, void *names)
{
    const struct entry *a = left, *b = right;
    int rc = compare(a->start, b->start);
    return rc != 0 ? rc : prefer(a, b, names);
}

static int by_order(const void *left, const void *right, void *unused)
{
    (void)unused;
    const struct entry *a = left, *b = right;
    int rc = compare(a->start, b->start);
    return rc != 0 ? rc : compare(a->order, b->order);
}

/* Of the symbols at one address the preferred one stays, and any that reach further than it. */
static size_t drop_aliases(struct entry *entries, size_t n)
{
    size_t kept = 0;
    for (size_t first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && entries[next].start == entries[first].start;)
            next++;
        for (size_t i = first; i < next; i++)
            if (i + 1 == next || entries[i].end > entries[next - 1].end)
                entries[kept++] = entries[i];
    }
    return kept;
}

/* Symbols without a size reach to the next one; labels inside a sized function are no symbols. */
static size_t fix_ends(struct entry *entries, size_t n)
{
    size_t kept = 0;
    uint64_t covered = 0;
    for (size_t i = 0; i < n; i++) {
        struct entry entry = entries[i];
        if (entry.end > entry.start) {
            covered = entry.end > covered ? entry.end : covered;
            entries[kept++] = entry;
            continue;
        }
        if (entry.start < covered && entry.limit != UINT64_MAX)
            continue;
        size_t next = i + 1;
        while (next < n && entries[next].start == entry.start)
            next++;
        entry.end = entry.limit;
        if (entry.limit == UINT64_MAX)
            entry.end = end_of(entry.start | (PAGE - 1), PAGE + 1);
        int same = next < n && entries[next].group == entry.group;
        if (next < n && (entry.end > entries[next].start || (same && entry.limit == UINT64_MAX)))
            entry.end = entries[next].start;
        entries[kept++] = entry;
    }
    return kept;
}

/* ---- ranges ---- */

/* The symbols that cover the point of the sweep, the one that wins at it first. */
struct covering {
    uint32_t *heap;
    size_t n;
    const struct entry *entries;
    int32_t later_wins;
};

static int wins(const struct covering *covering, uint32_t a, uint32_t b)
{
    if (!covering->later_wins)
        return a > b; /* the inner symbol begins later */
    return covering->entries[a].order > covering->entries[b].order;
}

static void push(struct covering *covering, uint32_t symbol)
{
    size_t at = covering->n++;
    while (at > 0 && wins(covering, symbol, covering->heap[(at - 1) / 2])) {
        covering->heap[at] = covering->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    covering->heap[at] = symbol;
}

static void pop(struct covering *covering)
{
    uint32_t last = covering->heap[--covering->n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < covering->n; at = child) {
        if (child + 1 < covering->n &&
            wins(covering, covering->heap[child + 1], covering->heap[child]))
            child++;
        if (!wins(covering, covering->heap[child], last))
            break;
        covering->heap[at] = covering->heap[child];
    }
    covering->heap[at] = last;
}

static void emit(struct kp_symindex *index, uint64_t start, uint32_t symbol)
{
    if (index->n_ranges > 0 && index->range_start[index->n_ranges - 1] == start)
        index->n_ranges--;
    index->range_start[index->n_ranges] = start;
    index->range_symbol[index->n_ranges++] = symbol;
}

/* Ends the symbols that end up to a point, and goes back to those they stood in. */
static void retire(struct kp_symindex *index, struct covering *covering, uint64_t point)
{
    while (covering->n > 0 && covering->entries[covering->heap[0]].end <= point) {
        uint64_t end = covering->entries[covering->heap[0]].end;
        while (covering->n > 0 && covering->entries[covering->heap[0]].end <= end)
            pop(covering);
        emit(index, end, covering->n > 0 ? covering->heap[0] : KP_NO_SYMBOL);
    }
}

/* Ranges that do not overlap, so that a lookup is one search whatever the symbols look like. */
static void sweep(struct kp_symindex *index, struct covering *covering, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t start = covering->entries[i].start;
        retire(index, covering, start);
        push(covering, (uint32_t)i);
        if (covering->heap[0] == i)
            emit(index, start, (uint32_t)i);
    }
    retire(index, covering, UINT64_MAX);
}

static void show(struct kp_symindex *index, const struct entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        index->start[i] = entries[i].start;
        index->end[i] = entries[i].end;
        index->name[i] = entries[i].name;
    }
    for (size_t i = 0; i < index->n_ranges; i++) {
        uint32_t symbol = index->range_symbol[i];
        if (symbol != KP_NO_SYMBOL && entries[symbol].grade == GRADE_MARK)
            index->range_symbol[i] = KP_NO_SYMBOL;
    }
    index->len = n;
}

static int allocate(struct kp_symindex *index, size_t n)
{
    size_t some = n != 0 ? n : 1;
    index->start = malloc(some * sizeof(*index->start));
    index->end = malloc(some * sizeof(*index->end));
    index->name = malloc(some * sizeof(*index->name));
    index->range_start = malloc(2 * some * sizeof(*index->range_start));
    index->range_symbol = malloc(2 * some * sizeof(*index->range_symbol));
    int is_short = index->start == NULL || index->end == NULL || index->name == NULL ||
                   index->range_start == NULL || index->range_symbol == NULL;
    return is_short ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for symbols") : 0;
}

int kp_symbuild_finish(struct kp_symbuild *build, struct kp_symindex **out)
{
    struct kp_symindex *index = calloc(1, sizeof(*index));
    struct covering covering = {.entries = build->entries, .later_wins = build->later_wins};
    *out = NULL;
    if (index == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for symbols");
    if (build->n > 0)
        qsort_r(build->entries, build->n, sizeof(*build->entries),
                build->later_wins ? by_order : by_preference, build->names);
    size_t n = build->later_wins ? build->n : drop_aliases(build->entries, build->n);
    n = fix_ends(build->entries, n);
    int rc = allocate(index, n);
    if (rc == 0) {
        covering.heap = malloc((n != 0 ? n : 1) * sizeof(*covering.heap));
        rc = covering.heap != NULL ? 0 : kp_fail(KP_E_NOMEM, ENOMEM, "no memory for symbols");
    }
    if (rc != 0) {
        kp_symindex_destroy(index);
        return rc;
    }
    sweep(index, &covering, n);
    free(covering.heap);
    show(index, build->entries, n);
    index->names = build->names;
    index->names_size = build->names_used;
    build->names = NULL;
    build->names_used = build->names_room = build->n = 0;
    *out = index;
    return 0;
}

void kp_symindex_destroy(struct kp_symindex *index)
{
    if (index == NULL)
        return;
    free(index->start);
    free(index->end);
    free(index->name);
    free(index->names);
    free(index->range_start);
    free(index->range_symbol);
    free(index);
}

/* ---- lookup ---- */

static uint32_t find(const struct kp_symindex *index, uint64_t address)
{
    size_t low = 0, high = index->n_ranges;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->range_start[middle] <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? index->range_symbol[low - 1] : KP_NO_SYMBOL;
}

void kp_symindex_lookup(const struct kp_symindex *index, const uint64_t *addresses, size_t n,
                        uint32_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = find(index, addresses[i]);
}
