/* SPDX-License-Identifier: Apache-2.0
 * The assembler, and what bpf(2) makes of its programs and maps. */
#include "bpf.h"
#include "check.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void need_bpf(void)
{
    if (kp_bpf_probe() != 0)
        skip(kp_last_error()->message);
}

static struct kp_asm *start(void)
{
    static struct kp_asm code;
    kp_asm_start(&code);
    return &code;
}

static uint32_t run_once(struct kp_asm *code)
{
    int program;
    uint32_t returned;
    CHECK_OK(kp_asm_finish(code));
    CHECK_OK(kp_bpf_load("test", KP_BPF_RAW_TRACEPOINT, 0, code, &program));
    CHECK_OK(kp_bpf_run_once(program, &returned));
    CHECK_EQ(kp_bpf_missed(program), 0);
    close(program);
    return returned;
}

/* ---- the assembler ---- */

TEST(asm_full)
{
    struct kp_asm *code = start();
    for (int i = 0; i < KP_ASM_MOST; i++)
        kp_asm_set(code, R0, i);
    CHECK_OK(kp_asm_finish(code));
    kp_asm_exit(code);
    CHECK_EQ(kp_asm_finish(code), KP_E_ARGUMENT);
    CHECK_EQ(code->len, KP_ASM_MOST);
}

TEST(asm_too_many_labels_and_jumps)
{
    struct kp_asm *code = start();
    for (int i = 0; i < KP_ASM_MOST_LABELS; i++)
        kp_asm_label(code);
    CHECK(!code->broken);
    kp_asm_label(code);
    CHECK(code->broken);

    code = start();
    kp_label label = kp_asm_label(code);
    for (int i = 0; i < KP_ASM_MOST_JUMPS; i++)
        kp_asm_jump(code, label);
    CHECK(!code->broken);
    kp_asm_jump(code, label);
    CHECK(code->broken);
}

TEST(asm_jump_to_nowhere)
{
    struct kp_asm *code = start();
    CHECK_EQ(kp_asm_finish(code), KP_E_ARGUMENT); /* an empty program is none */
    kp_asm_jump(code, kp_asm_label(code));
    kp_asm_exit(code);
    CHECK_EQ(kp_asm_finish(code), KP_E_ARGUMENT);

    code = start();
    kp_asm_jump(code, 0); /* no such label */
    CHECK(code->broken);

    code = start();
    kp_label label = kp_asm_label(code);
    kp_asm_bind(code, label);
    CHECK(!code->broken);
    kp_asm_bind(code, label);
    CHECK(code->broken);
}

TEST(asm_offset_out_of_range)
{
    struct kp_asm *code = start();
    kp_asm_load(code, KP_W64, R0, R1, INT16_MAX);
    kp_asm_load(code, KP_W64, R0, R1, INT16_MIN);
    CHECK(!code->broken);
    kp_asm_load(code, KP_W64, R0, R1, INT16_MAX + 1);
    CHECK(code->broken);
}

/* Arithmetic, memory of the stack and jumps, as the kernel runs them. */
TEST(asm_program_computes)
{
    need_bpf();
    struct kp_asm *code = start();
    kp_label wrong = kp_asm_label(code), right = kp_asm_label(code);
    kp_asm_set64(code, R1, 0x123456789abcdef0u);
    kp_asm_store(code, KP_W64, R10, -8, R1);
    kp_asm_load(code, KP_W16, R2, R10, -8);
    kp_asm_if_value(code, R2, KP_IF_NE, 0xdef0, wrong);
    kp_asm_load(code, KP_W8, R2, R10, -1);
    kp_asm_if_value(code, R2, KP_IF_NE, 0x12, wrong);
    kp_asm_set(code, R3, -5);
    kp_asm_if_value(code, R3, KP_IF_LT, -7, wrong); /* unsigned, sign-extended */
    kp_asm_if_value32(code, R3, KP_IF_SGE, 0, wrong);
    kp_asm_store_value(code, KP_W64, R10, -16, 40);
    kp_asm_set(code, R4, 2);
    kp_asm_atomic_add(code, R10, -16, R4);
    kp_asm_load(code, KP_W64, R0, R10, -16);
    kp_asm_mov(code, R5, R0);
    kp_asm_alu_by(code, KP_LSH, R5, 3);
    kp_asm_alu(code, KP_SUB, R5, R0); /* 42 * 7 */
    kp_asm_if(code, R5, KP_IF_GT, R0, right);
    kp_asm_bind(code, wrong);
    kp_asm_set(code, R5, 1);
    kp_asm_bind(code, right);
    kp_asm_mov(code, R0, R5);
    kp_asm_exit(code);
    CHECK_EQ(run_once(code), 294);
}

/* ---- programs ---- */

TEST(bpf_verifier_is_quoted)
{
    need_bpf();
    struct kp_asm *code = start();
    int program = -1, before = open_descriptors();
    kp_asm_exit(code); /* r0 holds nothing */
    CHECK_OK(kp_asm_finish(code));
    CHECK_EQ(kp_bpf_load("bad", KP_BPF_RAW_TRACEPOINT, 0, code, &program), KP_E_KERNEL);
    CHECK(strstr(kp_last_error()->message, "refused bad: R0 !read_ok") != NULL);
    CHECK_EQ(program, -1);
    CHECK_EQ(open_descriptors(), before);
}

static void probe_as_user(void *unused)
{
    (void)unused;
    CHECK_EQ(kp_bpf_probe(), KP_E_PERMISSION);
    CHECK(strstr(kp_last_error()->message, "CAP_BPF") != NULL);
}

TEST(bpf_not_permitted)
{
    need_privilege();
    as_user(probe_as_user, NULL);
}

/* ---- maps ---- */

enum { ITEMS = 5000 };

struct seen {
    uint8_t times[ITEMS];
    int total;
    int stop_after;
};

static int take(void *context, const void *key, const void *value)
{
    struct seen *seen = context;
    uint32_t number;
    uint64_t square;
    memcpy(&number, key, sizeof(number));
    memcpy(&square, value, sizeof(square));
    CHECK(number < ITEMS);
    CHECK_EQ(square, (uint64_t)number * number);
    seen->times[number]++;
    return ++seen->total == seen->stop_after ? KP_E_ARGUMENT : 0;
}

TEST(bpf_map_gives_every_item_once)
{
    need_bpf();
    struct kp_bpf_map map;
    static struct seen seen, stopped;
    CHECK_OK(kp_bpf_map_create("test", KP_BPF_HASH, 4, 8, ITEMS, &map));
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint64_t square = (uint64_t)i * i;
        CHECK_EQ(kp_bpf_map_put(&map, &i, &square), 0);
    }
    memset(&seen, 0, sizeof(seen));
    CHECK_OK(kp_bpf_map_each(&map, take, &seen));
    for (int i = 0; i < ITEMS; i++)
        CHECK_EQ(seen.times[i], 1);
    stopped = (struct seen){.stop_after = 3};
    CHECK_EQ(kp_bpf_map_each(&map, take, &stopped), KP_E_ARGUMENT);
    CHECK_EQ(stopped.total, 3);

    uint32_t key = 7;
    uint64_t value = 0;
    CHECK_EQ(kp_bpf_map_get(&map, &key, &value), 0);
    CHECK_EQ(value, 49);
    CHECK_EQ(kp_bpf_map_remove(&map, &key), 0);
    CHECK_EQ(kp_bpf_map_get(&map, &key, &value), -1);
    kp_bpf_map_close(&map);
}

TEST(bpf_map_empty)
{
    need_bpf();
    struct kp_bpf_map map;
    struct seen seen = {.total = 0};
    CHECK_OK(kp_bpf_map_create("test", KP_BPF_HASH, 4, 8, 1, &map));
    CHECK_OK(kp_bpf_map_each(&map, take, &seen));
    CHECK_EQ(seen.total, 0);
    kp_bpf_map_close(&map);
    kp_bpf_map_close(&map);
}

TEST(bpf_map_refused)
{
    need_bpf();
    struct kp_bpf_map map;
    void *memory = NULL;
    int before = open_descriptors();
    CHECK(kp_bpf_map_create("test", KP_BPF_HASH, 4, 8, 0, &map) < 0);
    CHECK(strstr(kp_last_error()->message, "'test'") != NULL);
    CHECK(kp_bpf_memory_create("test", (size_t)1 << 40, &map, &memory) < 0);
    CHECK(memory == NULL);
    CHECK_EQ(open_descriptors(), before);
}

/* Both sides see the same bytes. */
TEST(bpf_memory_is_shared)
{
    need_bpf();
    struct kp_bpf_map map;
    void *memory;
    CHECK_OK(kp_bpf_memory_create("test", 3 * 4096, &map, &memory));
    volatile uint64_t *words = memory;
    words[1000] = 5;
    struct kp_asm *code = start();
    kp_asm_map_value(code, R1, map.fd, 8000);
    kp_asm_load(code, KP_W64, R0, R1, 0);
    kp_asm_store_value(code, KP_W64, R1, 8, 77);
    kp_asm_exit(code);
    CHECK_EQ(run_once(code), 5);
    CHECK_EQ(words[1001], 77);
    munmap(memory, 3 * 4096);
    kp_bpf_map_close(&map);
}

TEST(bpf_waits_for_programs)
{
    need_bpf();
    struct kp_bpf_barrier barrier;
    int before = open_descriptors();
    CHECK_OK(kp_bpf_barrier_create(&barrier));
    for (int i = 0; i < 3; i++)
        CHECK_OK(kp_bpf_barrier_wait(&barrier));
    kp_bpf_barrier_close(&barrier);
    CHECK_EQ(open_descriptors(), before);
}
