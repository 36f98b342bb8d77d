/* SPDX-License-Identifier: Apache-2.0
 * libFuzzer harness: a symbol table with its names, kallsyms or a perf map, and lookups in the
 * index. The first byte says which; of a symbol table, two bytes that say how long its names are
 * follow, then names and symbols. */
#include "symindex.h"

#include <stdlib.h>
#include <string.h>

enum { ELF64, ELF32, KALLSYMS, PERF_MAP, N_KINDS };

static const struct kp_section sections[] = {
    {0, 0, 0, 0}, {0x1000, 0x3000, 1, 0}, {0x3000, 0x4000, 0, 0}, {0x10, UINT64_MAX, 1, 0}};

static void check(const struct kp_symindex *index)
{
    static const uint64_t addresses[] = {0,      1,      0x1000,   0x1fff,         0x2fff,
                                         0x3000, 0x4000, 1u << 31, UINT64_MAX - 1, UINT64_MAX};
    enum { N = sizeof(addresses) / sizeof(addresses[0]) };
    uint32_t found[N];
    kp_symindex_lookup(index, addresses, N, found);
    for (size_t i = 0; i < N; i++) {
        if (found[i] == KP_NO_SYMBOL)
            continue;
        if (found[i] >= index->len || addresses[i] < index->start[found[i]] ||
            addresses[i] >= index->end[found[i]] || index->name[found[i]] >= index->names_size)
            abort();
    }
}

static int add(struct kp_symbuild *build, int kind, const uint8_t *data, size_t size)
{
    if (kind == KALLSYMS)
        return kp_symbuild_add_kallsyms(build, (const char *)data, size);
    if (kind == PERF_MAP)
        return kp_symbuild_add_perf_map(build, (const char *)data, size);
    if (size < 2)
        return -1;
    size_t names = (size_t)data[0] | (size_t)data[1] << 8;
    names = names < size - 2 ? names : size - 2;
    return kp_symbuild_add_elf(build, kind == ELF64, data + 2 + names, size - 2 - names,
                               (const char *)data + 2, names, sections,
                               sizeof(sections) / sizeof(sections[0]), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_symbuild *build;
    struct kp_symindex *index;
    if (size < 1 || kp_symbuild_create(&build) != 0)
        return 0;
    uint8_t *input = malloc(size);
    if (input != NULL) {
        memcpy(input, data, size);
        if (add(build, input[0] % N_KINDS, input + 1, size - 1) == 0 &&
            kp_symbuild_finish(build, &index) == 0) {
            check(index);
            kp_symindex_destroy(index);
        }
    }
    kp_symbuild_destroy(build);
    free(input);
    return 0;
}
