/* SPDX-License-Identifier: Apache-2.0
 * Throws damaged tables and texts at the symbol index, for sanitizers to watch; what it finds is
 * checked against a search without an index. Arguments: seed, rounds. */
#include "symindex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below != 0 ? state % below : 0;
}

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* Copies what is parsed to the end of its own allocation, where one byte too many is seen. */
static void *exact(const void *bytes, size_t size)
{
    void *copy = malloc(size != 0 ? size : 1);
    memcpy(copy, bytes, size);
    return copy;
}

static uint64_t odd_number(void)
{
    static const uint64_t odd[] = {0, 1, 4095, 1u << 31, UINT32_MAX, INT64_MAX, UINT64_MAX - 1};
    return draw(4) != 0 ? draw(5000) : odd[draw(sizeof(odd) / sizeof(odd[0]))];
}

static void check_index(struct kp_symindex *index)
{
    for (size_t i = 0; i < index->len; i++)
        if (index->end[i] < index->start[i] || index->name[i] >= index->names_size ||
            (i > 0 && index->start[i] < index->start[i - 1]))
            fail("a symbol makes no sense");
    uint64_t addresses[64];
    uint32_t found[64];
    for (size_t i = 0; i < 64; i++)
        addresses[i] = odd_number();
    kp_symindex_lookup(index, addresses, 64, found);
    for (size_t i = 0; i < 64; i++) {
        if (found[i] == KP_NO_SYMBOL)
            continue;
        if (found[i] >= index->len)
            fail("a symbol that is not there");
        if (addresses[i] < index->start[found[i]] || addresses[i] >= index->end[found[i]])
            fail("an address outside of its symbol");
    }
}

static void finish(struct kp_symbuild *build)
{
    struct kp_symindex *index = NULL;
    if (kp_symbuild_finish(build, &index) != 0)
        fail("no index");
    check_index(index);
    kp_symindex_destroy(index);
    kp_symbuild_destroy(build);
}

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void fuzz_elf(void)
{
    int is_64 = draw(2) != 0;
    uint8_t table[24 * 64];
    char names[256];
    struct kp_section sections[4];
    for (size_t i = 0; i < sizeof(names); i++)
        names[i] = "ab_$x.L\0"[draw(8)];
    for (size_t i = 0; i < sizeof(table); i++)
        table[i] = (uint8_t)draw(256);
    size_t item = is_64 ? 24 : 16;
    for (size_t at = 0; at + item <= sizeof(table); at += item) {
        put(table + at, odd_number() % 300, 4);
        put(table + at + (is_64 ? 8 : 4), odd_number(), is_64 ? 8 : 4);
        put(table + at + (is_64 ? 16 : 8), draw(3) != 0 ? odd_number() % 100 : odd_number(), 4);
        table[at + (is_64 ? 4 : 12)] = (uint8_t)(draw(3) << 4 | (draw(3) != 0 ? 2 : draw(11)));
        put(table + at + (is_64 ? 6 : 14), draw(8) != 0 ? draw(6) : 0xfff0 + draw(16), 2);
    }
    for (size_t i = 0; i < 4; i++)
        sections[i] = (struct kp_section){odd_number(), odd_number(), draw(4) != 0, 0};
    size_t size = draw(sizeof(table) + 1), names_size = draw(sizeof(names) + 1);
    size_t n = draw(5);
    uint8_t *table_copy = exact(table, size);
    char *names_copy = exact(names, names_size);
    struct kp_section *sections_copy = exact(sections, n * sizeof(*sections));
    struct kp_symbuild *build = NULL;
    if (kp_symbuild_create(&build) != 0)
        fail("no memory");
    for (size_t i = 0; i <= draw(2); i++)
        if (kp_symbuild_add_elf(build, is_64, table_copy, size, names_copy, names_size,
                                sections_copy, n, draw(4) != 0 ? 0 : odd_number()) != 0)
            fail("a table was refused");
    finish(build);
    free(table_copy);
    free(names_copy);
    free(sections_copy);
}

static void fuzz_text(int (*add)(struct kp_symbuild *, const char *, size_t))
{
    static const char alphabet[] = "0123456789abcdefF  \n\nTtwd\t[]x\xff";
    char text[1024];
    size_t size = draw(sizeof(text) + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = alphabet[draw(sizeof(alphabet))];
    for (size_t at = 0; draw(8) != 0 && at + 40 < size;)
        at += (size_t)snprintf(text + at, 40, "%llx %llx n%llu%c", (unsigned long long)odd_number(),
                               (unsigned long long)draw(500), (unsigned long long)draw(9),
                               draw(9) != 0 ? '\n' : '\0');
    char *copy = exact(text, size);
    struct kp_symbuild *build = NULL;
    if (kp_symbuild_create(&build) != 0 || add(build, copy, size) != 0)
        fail("a text was refused");
    finish(build);
    free(copy);
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    size_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    for (size_t i = 0; i < rounds; i++) {
        fuzz_elf();
        fuzz_text(kp_symbuild_add_kallsyms);
        fuzz_text(kp_symbuild_add_perf_map);
    }
    return 0;
}
