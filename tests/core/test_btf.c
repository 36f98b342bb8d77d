/* SPDX-License-Identifier: Apache-2.0
 * The kernel's types: a small description made here, damaged ones, and this kernel's own. */
#include "btf.h"
#include "check.h"

#include <string.h>
#include <unistd.h>

enum { INT = 1, PTR = 2, STRUCT = 4, UNION = 5, TYPEDEF = 8, CONST = 10 };

struct made {
    uint8_t bytes[1024];
    char strings[256];
    size_t types, n_strings;
};

enum { HEADER = 24 };

static void put(struct made *made, uint32_t word)
{
    memcpy(made->bytes + HEADER + made->types, &word, 4);
    made->types += 4;
}

static uint32_t name(struct made *made, const char *text)
{
    size_t at = made->n_strings;
    memcpy(made->strings + at, text, strlen(text) + 1);
    made->n_strings += strlen(text) + 1;
    return (uint32_t)at;
}

static void type(struct made *made, const char *text, uint32_t kind, uint32_t count, uint32_t of)
{
    put(made, text[0] ? name(made, text) : 0);
    put(made, kind << 24 | count);
    put(made, of);
}

static void member(struct made *made, const char *text, uint32_t of, uint32_t bits)
{
    put(made, text[0] ? name(made, text) : 0);
    put(made, of);
    put(made, bits);
}

/* Puts the parts together; returns the whole size. */
static size_t finish(struct made *made)
{
    const uint32_t header[] = {
        0xeb9f | 1 << 16,         HEADER, 0, (uint32_t)made->types, (uint32_t)made->types,
        (uint32_t)made->n_strings};
    memcpy(made->bytes, header, sizeof(header));
    memcpy(made->bytes + HEADER + made->types, made->strings, made->n_strings);
    return HEADER + made->types + made->n_strings;
}

static size_t make(struct made *made)
{
    memset(made, 0, sizeof(*made));
    made->n_strings = 1;
    type(made, "int", INT, 0, 4); /* 1 */
    put(made, 32);
    type(made, "inner", STRUCT, 2, 16); /* 2 */
    member(made, "first", 1, 0);
    member(made, "last", 1, 96);
    type(made, "inner_t", TYPEDEF, 0, 4); /* 3 */
    type(made, "", CONST, 0, 2);          /* 4 */
    type(made, "", UNION, 2, 16);         /* 5 */
    member(made, "word", 1, 0);
    member(made, "nested", 3, 0);
    type(made, "outer", STRUCT, 3, 64); /* 6 */
    member(made, "before", 1, 0);
    member(made, "", 5, 64);
    member(made, "loop", 7, 256);
    type(made, "loop", TYPEDEF, 0, 7);       /* 7: of itself */
    type(made, "bits", STRUCT | 0x80, 1, 8); /* 8: members with widths */
    member(made, "flag", 1, 40 | 3u << 24);
    type(made, "outer", TYPEDEF, 0, 6); /* 9: the same name, another kind */
    return finish(made);
}

static uint8_t *copy(const void *bytes, size_t size)
{
    uint8_t *copied = malloc(size > 0 ? size : 1);
    CHECK(copied != NULL);
    memcpy(copied, bytes, size);
    return copied;
}

TEST(btf_members)
{
    struct made made;
    struct kp_btf btf;
    size_t size = make(&made);
    CHECK_OK(kp_btf_parse(copy(made.bytes, size), size, &btf));
    struct kp_btf_name names[] = {{"outer", KP_BTF_STRUCT, 0},
                                  {"outer", KP_BTF_TYPEDEF, 0},
                                  {"oute", KP_BTF_STRUCT, 5},
                                  {"bits", KP_BTF_STRUCT, 0}};
    kp_btf_find(&btf, names, 4);
    CHECK_EQ(names[0].id, 6);
    CHECK_EQ(names[1].id, 9);
    CHECK_EQ(names[2].id, 0);
    CHECK_EQ(names[3].id, 8);
    CHECK_EQ(kp_btf_offset(&btf, 6, "before"), 0);
    CHECK_EQ(kp_btf_offset(&btf, 6, "word"), 8); /* of a member without a name */
    CHECK_EQ(kp_btf_offset(&btf, 6, "nested.last"), 20);
    CHECK_EQ(kp_btf_offset(&btf, 9, "nested.last"), 20);
    CHECK_EQ(kp_btf_offset(&btf, 8, "flag"), 5);
    const char *const missing[] = {"", ".", "befor", "beforehand", "before.x", "loop.x", "nested."};
    for (size_t i = 0; i < sizeof(missing) / sizeof(*missing); i++)
        CHECK_EQ(kp_btf_offset(&btf, 6, missing[i]), -1);
    CHECK_EQ(kp_btf_offset(&btf, 0, "before"), -1);
    CHECK_EQ(kp_btf_offset(&btf, 99, "before"), -1);
    kp_btf_free(&btf);
}

TEST(btf_cut)
{
    struct made made;
    struct kp_btf btf;
    size_t size = make(&made);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK_EQ(kp_btf_parse(copy(made.bytes, cut), cut, &btf), KP_E_KERNEL);
        CHECK(btf.bytes == NULL);
    }
}

/* As from kernels that do not let it be mapped. */
TEST(btf_through_a_pipe)
{
    struct made made;
    struct kp_btf btf;
    char path[40];
    int ends[2];
    size_t size = make(&made);
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(write(ends[1], made.bytes, size), size);
    close(ends[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    CHECK_OK(kp_btf_read(path, &btf));
    CHECK_EQ(kp_btf_offset(&btf, 6, "nested.last"), 20);
    kp_btf_free(&btf);
    close(ends[0]);
}

TEST(btf_of_this_kernel)
{
    struct kp_btf btf;
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
        skip("this kernel does not describe its types");
    CHECK_OK(kp_btf_read("/sys/kernel/btf/vmlinux", &btf));
    struct kp_btf_name names[] = {{"task_struct", KP_BTF_STRUCT, 0},
                                  {"list_head", KP_BTF_STRUCT, 0}};
    kp_btf_find(&btf, names, 2);
    CHECK(kp_btf_offset(&btf, names[0].id, "tgid") ==
          kp_btf_offset(&btf, names[0].id, "pid") + (int32_t)sizeof(int));
    CHECK_EQ(kp_btf_offset(&btf, names[1].id, "prev"), (int)sizeof(void *));
    kp_btf_free(&btf);
}

TEST(btf_missing)
{
    struct kp_btf btf;
    CHECK_EQ(kp_btf_read("/nowhere/vmlinux", &btf), KP_E_KERNEL);
    CHECK(strstr(kp_last_error()->message, "/nowhere/vmlinux") != NULL);
}
