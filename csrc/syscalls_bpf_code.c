/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
 *
 * The BPF programs that count system calls in the kernel. The kernel lends its helpers to programs
 * under the GPL only, so what stands in this file is under either licence.
 *
 * Every thread that is followed has an item in a map, with the call that it is in. The results of
 * a CPU are written by that CPU alone and need no atomic operations: a program never runs twice on
 * a CPU at a time. A call that began outside of the window, or without its beginning having been
 * seen, never gets a duration. */
#include "syscalls_bpf_code.h"

#include "error.h"
#include "syscalls.h"

#include <stddef.h>

/* ---- what differs between architectures ---- */

#if defined(__x86_64__)
enum { COMPAT_IN_TASK = 1, COMPAT_BIT = 0x2 }; /* thread_info.status: TS_COMPAT */
#elif defined(__aarch64__)
enum { COMPAT_IN_TASK = 0, COMPAT_BIT = 0x10 }; /* pstate: PSR_MODE32_BIT */
#else
enum { COMPAT_IN_TASK = 0, COMPAT_BIT = 0 };
#endif

/* What a sleep that a signal interrupted returns, inside the kernel. */
enum { ERESTART_RESTARTBLOCK = 516 };

enum { NO_WINDOW = -1, NOT_BEFORE = 1 /* an update that makes an item, or fails */ };

/* ---- the stack of the programs ---- */

enum {
    AT_NUMBER = -4,  /* u32: of the call */
    AT_TID = -8,     /* u32: key of threads */
    AT_COMPAT = -16, /* u64: where in control.entries the tables of the task begin */
    AT_PLACE = -24,  /* u64: bank and CPU in one number */
    AT_KEY = -40,    /* struct kp_call_place */
    AT_THREAD = -80,
    AT_KEYED = -160,
    AT_ZERO = -168,
    AT_ENTRY = -176,
    AT_TARGET = -184, /* u32: key of targets */
    AT_READ = -192,
    AT_PID = -200,
    AT_TASK = -208
};

_Static_assert(sizeof(struct kp_call_place) == 16, "AT_KEY");
_Static_assert(sizeof(struct kp_call_thread) == 40, "AT_THREAD");
_Static_assert(sizeof(struct kp_call_keyed) == 80, "AT_KEYED");
_Static_assert(sizeof(struct kp_call_counts) == 64, "a shift by 6");
_Static_assert(sizeof(struct kp_call_gathered) == 16, "a shift by 4");

struct builder {
    const struct kp_call_plan *plan;
    struct kp_asm *code;
    kp_label out; /* the end of the program */
};

#define THREAD(member) ((int)offsetof(struct kp_call_thread, member))
#define COUNTS(member) ((int)offsetof(struct kp_call_counts, member))

/* ---- small steps; r0 to r5 are lost in all of them ---- */

static void load_control(struct builder *b, int to, size_t member)
{
    kp_asm_map_value(b->code, to, b->plan->control, 0);
    kp_asm_load(b->code, KP_W64, to, to, (int)member);
}

static void count_loss(struct builder *b, size_t member)
{
    kp_asm_map_value(b->code, R1, b->plan->control, 0);
    kp_asm_set(b->code, R2, 1);
    kp_asm_atomic_add(b->code, R1, (int)member, R2);
}

/* The registers of a call of a helper: a map and the addresses of what lies on the stack. */
static void on_stack(struct builder *b, int to, int at)
{
    kp_asm_mov(b->code, to, R10);
    kp_asm_alu_by(b->code, KP_ADD, to, at);
}

static void look_up(struct builder *b, int map, int key_at)
{
    kp_asm_map(b->code, R1, map);
    on_stack(b, R2, key_at);
    kp_asm_call(b->code, KP_BPF_MAP_LOOKUP);
}

static void update(struct builder *b, int map, int key_at, int value_at, int flags)
{
    kp_asm_map(b->code, R1, map);
    on_stack(b, R2, key_at);
    on_stack(b, R3, value_at);
    kp_asm_set(b->code, R4, flags);
    kp_asm_call(b->code, KP_BPF_MAP_UPDATE);
}

static void erase(struct builder *b, int map, int key_at)
{
    kp_asm_map(b->code, R1, map);
    on_stack(b, R2, key_at);
    kp_asm_call(b->code, KP_BPF_MAP_DELETE);
}

static void clear(struct builder *b, int at, size_t size)
{
    for (size_t done = 0; done < size; done += 8)
        kp_asm_store_value(b->code, KP_W64, R10, at + (int)done, 0);
}

static void increment(struct builder *b, int base, int offset)
{
    kp_asm_load(b->code, KP_W64, R1, base, offset);
    kp_asm_alu_by(b->code, KP_ADD, R1, 1);
    kp_asm_store(b->code, KP_W64, base, offset, R1);
}

/* The item of the current thread to r7, or to `none`. */
static void find_thread(struct builder *b, kp_label none)
{
    kp_asm_call(b->code, KP_BPF_GET_CURRENT_PID_TGID);
    kp_asm_store(b->code, KP_W32, R10, AT_TID, R0);
    look_up(b, b->plan->threads, AT_TID);
    kp_asm_mov(b->code, R7, R0);
    kp_asm_if_value(b->code, R7, KP_IF_EQ, 0, none);
}

/* Leaves where r7's thread is not followed, or not yet. */
static void need_followed(struct builder *b)
{
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(flags));
    kp_asm_if_value(b->code, R1, KP_IF_SET, KP_CALL_HELD | KP_CALL_LEFT_OUT, b->out);
}

/* ---- process and thread ids ---- */

/* Copies from the kernel's address r3 to AT_READ; 0 where it cannot be read. */
static void read_kernel(struct builder *b, int32_t size)
{
    kp_asm_store_value(b->code, KP_W64, R10, AT_READ, 0);
    on_stack(b, R1, AT_READ);
    kp_asm_set(b->code, R2, size);
    kp_asm_call(b->code, KP_BPF_PROBE_READ_KERNEL);
}

static void read_from(struct builder *b, int address_at, int32_t offset, int32_t size)
{
    kp_asm_load(b->code, KP_W64, R3, R10, address_at);
    kp_asm_alu_by(b->code, KP_ADD, R3, offset);
    read_kernel(b, size);
}

/* The id of the task at AT_TASK in kperf's own namespace, to a place on the stack; 0 where the task
 * does not live in it or below. */
static void nested_id(struct builder *b, int to)
{
    enum { UPID = 16, UPID_NAMESPACE = 8 };
    const struct kp_call_offsets *offsets = &b->plan->offsets;
    kp_label foreign = kp_asm_label(b->code);
    int32_t at = offsets->pid_numbers + b->plan->nested * UPID;
    kp_asm_store_value(b->code, KP_W32, R10, to, 0);
    read_from(b, AT_TASK, offsets->task_thread_pid, 8);
    kp_asm_load(b->code, KP_W64, R1, R10, AT_READ);
    kp_asm_store(b->code, KP_W64, R10, AT_PID, R1);
    read_from(b, AT_PID, offsets->pid_level, 4);
    kp_asm_load(b->code, KP_W32, R1, R10, AT_READ);
    kp_asm_if_value(b->code, R1, KP_IF_LT, b->plan->nested, foreign);
    read_from(b, AT_PID, at + UPID_NAMESPACE, 8);
    kp_asm_load(b->code, KP_W64, R1, R10, AT_READ);
    kp_asm_set64(b->code, R2, b->plan->namespace);
    kp_asm_if(b->code, R1, KP_IF_NE, R2, foreign);
    read_from(b, AT_PID, at, 4);
    kp_asm_load(b->code, KP_W32, R1, R10, AT_READ);
    kp_asm_store(b->code, KP_W32, R10, to, R1);
    kp_asm_bind(b->code, foreign);
}

/* Both ids of the task at AT_TASK to the new item at AT_THREAD. */
static void nested_ids(struct builder *b)
{
    nested_id(b, AT_THREAD + THREAD(tid));
    read_from(b, AT_TASK, b->plan->offsets.task_group_leader, 8);
    kp_asm_load(b->code, KP_W64, R1, R10, AT_READ);
    kp_asm_store(b->code, KP_W64, R10, AT_TASK, R1);
    nested_id(b, AT_THREAD + THREAD(pid));
}

/* A new item for the current thread at AT_THREAD. */
static void describe_current(struct builder *b)
{
    clear(b, AT_THREAD, sizeof(struct kp_call_thread));
    if (b->plan->nested > 0) {
        kp_asm_call(b->code, KP_BPF_GET_CURRENT_TASK);
        kp_asm_store(b->code, KP_W64, R10, AT_TASK, R0);
        nested_ids(b);
        return;
    }
    kp_asm_call(b->code, KP_BPF_GET_CURRENT_PID_TGID);
    kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(tid), R0);
    kp_asm_alu_by(b->code, KP_RSH, R0, 32);
    kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(pid), R0);
}

/* The target of the item at AT_THREAD: r0, or on to `none`. */
static void find_target(struct builder *b, kp_label none)
{
    kp_asm_load(b->code, KP_W32, R1, R10, AT_THREAD + THREAD(pid));
    kp_asm_store(b->code, KP_W32, R10, AT_TARGET, R1);
    look_up(b, b->plan->targets, AT_TARGET);
    kp_asm_if_value(b->code, R0, KP_IF_EQ, 0, none);
}

/* The current thread gets an item, r7, if it is to be followed. */
static void new_thread(struct builder *b)
{
    kp_label made = kp_asm_label(b->code);
    describe_current(b);
    if (b->plan->targets >= 0) {
        find_target(b, b->out);
        kp_asm_load(b->code, KP_W32, R1, R0, 0);
        kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(flags), R1);
    }
    update(b, b->plan->threads, AT_TID, AT_THREAD, NOT_BEFORE);
    look_up(b, b->plan->threads, AT_TID);
    kp_asm_mov(b->code, R7, R0);
    kp_asm_if_value(b->code, R7, KP_IF_NE, 0, made);
    count_loss(b, offsetof(struct kp_call_control, lost_threads));
    kp_asm_jump(b->code, b->out);
    kp_asm_bind(b->code, made);
}

/* ---- call numbers ---- */

/* Bit 1 << 11 where the current task makes a 32-bit call: r1. */
static void compat_of_task(struct builder *b)
{
    enum { TO_TABLE = 11 };
    int32_t offset = b->plan->offsets.regs_compat;
    if (!COMPAT_IN_TASK) {
        kp_asm_load(b->code, KP_W64, R1, R6, 0);
        kp_asm_load(b->code, KP_W32, R1, R1, offset);
    } else if (b->plan->task_btf) {
        kp_asm_call(b->code, KP_BPF_GET_CURRENT_TASK_BTF);
        kp_asm_load(b->code, KP_W32, R1, R0, offset);
    } else {
        kp_asm_call(b->code, KP_BPF_GET_CURRENT_TASK);
        kp_asm_mov(b->code, R3, R0);
        kp_asm_alu_by(b->code, KP_ADD, R3, offset);
        read_kernel(b, 4);
        kp_asm_load(b->code, KP_W32, R1, R10, AT_READ);
    }
    kp_asm_alu_by(b->code, KP_AND, R1, COMPAT_BIT);
    kp_asm_alu_by(b->code, KP_LSH, R1, TO_TABLE - __builtin_ctz(COMPAT_BIT | 1 << TO_TABLE));
    _Static_assert(1 << TO_TABLE == sizeof(uint16_t) * KP_CALL_NUMBERS, "the second table");
}

/* What is known of the number in r8: r9. Keeps the number and the table on the stack. */
static void find_entry(struct builder *b)
{
    kp_label listed = kp_asm_label(b->code), done = kp_asm_label(b->code);
    kp_asm_alu_by(b->code, KP_LSH, R8, 32);
    kp_asm_alu_by(b->code, KP_RSH, R8, 32);
    kp_asm_store(b->code, KP_W32, R10, AT_NUMBER, R8);
    compat_of_task(b);
    kp_asm_store(b->code, KP_W64, R10, AT_COMPAT, R1);
    kp_asm_if_value(b->code, R8, KP_IF_LT, KP_CALL_NUMBERS, listed);
    if (b->plan->every)
        kp_asm_set(b->code, R9, KP_CALL_TRACED | KP_CALL_SPARSE);
    kp_asm_jump(b->code, b->plan->every ? done : b->out);
    kp_asm_bind(b->code, listed);
    kp_asm_alu_by(b->code, KP_LSH, R8, 1);
    kp_asm_alu(b->code, KP_ADD, R8, R1);
    kp_asm_map_value(b->code, R2, b->plan->control, 0);
    kp_asm_alu(b->code, KP_ADD, R2, R8);
    kp_asm_load(b->code, KP_W16, R9, R2, (int)offsetof(struct kp_call_control, entries));
    kp_asm_bind(b->code, done);
}

/* The number that find_entry left on the stack to r7's item. */
static void set_number(struct builder *b)
{
    kp_asm_load(b->code, KP_W32, R1, R10, AT_NUMBER);
    kp_asm_store(b->code, KP_W32, R7, THREAD(number), R1);
    kp_asm_load(b->code, KP_W64, R1, R10, AT_COMPAT);
    kp_asm_alu_by(b->code, KP_RSH, R1, 6); /* 32 or 0 */
    kp_asm_set(b->code, R2, 64);
    kp_asm_alu(b->code, KP_SUB, R2, R1);
    kp_asm_store(b->code, KP_W32, R7, THREAD(bits), R2);
}

static void need_cpu(struct builder *b)
{
    if (!b->plan->some_cpus)
        return;
    kp_asm_call(b->code, KP_BPF_GET_SMP_PROCESSOR_ID);
    kp_asm_if_value(b->code, R0, KP_IF_GE, KP_CALL_MOST_CPUS, b->out);
    kp_asm_map_value(b->code, R1, b->plan->control, 0);
    kp_asm_alu(b->code, KP_ADD, R1, R0);
    kp_asm_load(b->code, KP_W8, R1, R1, (int)offsetof(struct kp_call_control, cpus));
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, b->out);
}

/* ---- rows ---- */

static int dense(const struct builder *b)
{
    return b->plan->key == KP_CALLS_TOGETHER;
}

static int sparse(const struct builder *b)
{
    return b->plan->key != KP_CALLS_TOGETHER || b->plan->every;
}

/* Leaves for `there` where r9's call has no dense row. */
static void if_sparse(struct builder *b, kp_label there)
{
    kp_asm_mov(b->code, R2, R9);
    kp_asm_alu_by(b->code, KP_AND, R2, KP_CALL_SLOT);
    kp_asm_if_value(b->code, R2, KP_IF_EQ, KP_CALL_SPARSE, there);
}

static void dense_row(struct builder *b)
{
    uint32_t rows = 2 * b->plan->n_cpus * b->plan->n_slots;
    kp_asm_load(b->code, KP_W64, R3, R10, AT_PLACE);
    kp_asm_alu_by(b->code, KP_MUL, R3, (int32_t)b->plan->n_slots);
    kp_asm_mov(b->code, R2, R9);
    kp_asm_alu_by(b->code, KP_AND, R2, KP_CALL_SLOT);
    kp_asm_alu(b->code, KP_ADD, R3, R2);
    kp_asm_if_value(b->code, R3, KP_IF_GE, (int32_t)rows, b->out);
    kp_asm_alu_by(b->code, KP_LSH, R3, 6);
    kp_asm_map_value(b->code, R0, b->plan->rows, 0);
    kp_asm_alu(b->code, KP_ADD, R0, R3);
}

/* The key at AT_KEY for r7's call, without its last part. */
static void set_key(struct builder *b)
{
    if (b->plan->key == KP_CALLS_TOGETHER) {
        kp_asm_set(b->code, R1, 0);
    } else {
        int member = b->plan->key == KP_CALLS_BY_THREAD ? THREAD(tid) : THREAD(pid);
        kp_asm_load(b->code, KP_W32, R1, R7, member);
    }
    kp_asm_store(b->code, KP_W32, R10, AT_KEY + (int)offsetof(struct kp_call_place, id), R1);
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(number));
    kp_asm_store(b->code, KP_W32, R10, AT_KEY + (int)offsetof(struct kp_call_place, number), R1);
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(bits));
    kp_asm_store(b->code, KP_W16, R10, AT_KEY + (int)offsetof(struct kp_call_place, bits), R1);
    load_control(b, R1, offsetof(struct kp_call_control, bank));
    kp_asm_store(b->code, KP_W16, R10, AT_KEY + (int)offsetof(struct kp_call_place, bank), R1);
}

static void keyed_row(struct builder *b, kp_label lost)
{
    enum { GET_CURRENT_COMM = 16 };
    const int counts = AT_KEYED + (int)offsetof(struct kp_call_keyed, counts);
    const int comm = AT_KEYED + (int)offsetof(struct kp_call_keyed, comm);
    kp_label there = kp_asm_label(b->code);
    set_key(b);
    /* Rows of a thread are written by it alone; all others are one CPU's. */
    if (b->plan->key == KP_CALLS_BY_THREAD)
        kp_asm_set(b->code, R1, 0);
    else
        kp_asm_load(b->code, KP_W64, R1, R10, AT_PLACE);
    kp_asm_store(b->code, KP_W32, R10, AT_KEY + (int)offsetof(struct kp_call_place, cpu), R1);
    look_up(b, b->plan->keyed, AT_KEY);
    kp_asm_if_value(b->code, R0, KP_IF_NE, 0, there);
    clear(b, AT_KEYED, sizeof(struct kp_call_keyed));
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(pid));
    kp_asm_store(b->code, KP_W32, R10, counts + COUNTS(pid), R1);
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(tid));
    kp_asm_store(b->code, KP_W32, R10, counts + COUNTS(tid), R1);
    on_stack(b, R1, comm);
    kp_asm_set(b->code, R2, 16);
    kp_asm_call(b->code, (enum kp_bpf_helper)GET_CURRENT_COMM);
    update(b, b->plan->keyed, AT_KEY, AT_KEYED, 0);
    look_up(b, b->plan->keyed, AT_KEY);
    kp_asm_if_value(b->code, R0, KP_IF_EQ, 0, lost);
    kp_asm_bind(b->code, there);
}

/* The counts of r7's call, whose entry is r9: r0. Where there is no room: to `done`. */
static void find_row(struct builder *b, kp_label done)
{
    kp_label found = kp_asm_label(b->code), lost = kp_asm_label(b->code);
    kp_label by_key = kp_asm_label(b->code);
    kp_asm_call(b->code, KP_BPF_GET_SMP_PROCESSOR_ID);
    kp_asm_if_value(b->code, R0, KP_IF_GE, (int32_t)b->plan->n_cpus, lost);
    load_control(b, R1, offsetof(struct kp_call_control, bank));
    kp_asm_alu_by(b->code, KP_AND, R1, 1);
    kp_asm_alu_by(b->code, KP_MUL, R1, (int32_t)b->plan->n_cpus);
    kp_asm_alu(b->code, KP_ADD, R1, R0);
    kp_asm_store(b->code, KP_W64, R10, AT_PLACE, R1);
    if (dense(b) && sparse(b))
        if_sparse(b, by_key);
    if (dense(b)) {
        dense_row(b);
        kp_asm_jump(b->code, found);
    }
    kp_asm_bind(b->code, by_key);
    if (sparse(b)) {
        keyed_row(b, lost);
        kp_asm_jump(b->code, found);
    }
    kp_asm_bind(b->code, lost);
    count_loss(b, offsetof(struct kp_call_control, lost_rows));
    kp_asm_jump(b->code, done);
    kp_asm_bind(b->code, found);
}

/* ---- histograms ---- */

/* The bucket of r8: r2. As kp_bucket_of, except that the highest ones are one. */
static void find_bucket(struct builder *b)
{
    kp_label large = kp_asm_label(b->code), done = kp_asm_label(b->code);
    kp_asm_if_value(b->code, R8, KP_IF_GE, KP_BUCKETS_AN_OCTAVE, large);
    kp_asm_mov(b->code, R2, R8);
    kp_asm_jump(b->code, done);
    kp_asm_bind(b->code, large);
    kp_asm_mov(b->code, R1, R8);
    kp_asm_alu_by(b->code, KP_RSH, R1, KP_BUCKET_BITS);
    kp_asm_set(b->code, R3, 0); /* the binary logarithm of r1 */
    for (int step = 32; step > 0; step /= 2) {
        kp_label less = kp_asm_label(b->code);
        kp_asm_mov(b->code, R4, R1);
        kp_asm_alu_by(b->code, KP_RSH, R4, step);
        kp_asm_if_value(b->code, R4, KP_IF_EQ, 0, less);
        kp_asm_mov(b->code, R1, R4);
        kp_asm_alu_by(b->code, KP_ADD, R3, step);
        kp_asm_bind(b->code, less);
    }
    kp_asm_mov(b->code, R2, R8);
    kp_asm_alu(b->code, KP_RSH, R2, R3);
    kp_asm_alu_by(b->code, KP_LSH, R3, KP_BUCKET_BITS);
    kp_asm_alu(b->code, KP_ADD, R2, R3);
    kp_asm_if_value(b->code, R2, KP_IF_LT, KP_CALL_BUCKETS, done);
    kp_asm_set(b->code, R2, KP_CALL_BUCKETS - 1);
    kp_asm_bind(b->code, done);
}

/* What this CPU gathered of another bucket goes to the common histogram: r5 is its place, r2 the
 * bucket that takes it. */
static void give_place(struct builder *b)
{
    kp_label given = kp_asm_label(b->code);
    int32_t buckets = (int32_t)b->plan->n_slots * KP_CALL_BUCKETS;
    kp_asm_load(b->code, KP_W64, R4, R5, (int)offsetof(struct kp_call_gathered, count));
    kp_asm_if_value(b->code, R4, KP_IF_EQ, 0, given);
    kp_asm_if_value(b->code, R1, KP_IF_GE, buckets, given);
    load_control(b, R0, offsetof(struct kp_call_control, bank));
    kp_asm_alu_by(b->code, KP_AND, R0, 1);
    kp_asm_alu_by(b->code, KP_MUL, R0, buckets);
    kp_asm_alu(b->code, KP_ADD, R1, R0);
    kp_asm_alu_by(b->code, KP_LSH, R1, 3);
    kp_asm_map_value(b->code, R3, b->plan->histograms, 0);
    kp_asm_alu(b->code, KP_ADD, R3, R1);
    kp_asm_atomic_add(b->code, R3, 0, R4);
    kp_asm_bind(b->code, given);
    kp_asm_store(b->code, KP_W64, R5, (int)offsetof(struct kp_call_gathered, key), R2);
    kp_asm_store_value(b->code, KP_W64, R5, (int)offsetof(struct kp_call_gathered, count), 1);
}

static void dense_bucket(struct builder *b, kp_label done)
{
    kp_label other = kp_asm_label(b->code);
    int32_t places = (int32_t)(2 * b->plan->n_cpus) << KP_CALL_GATHER_BITS;
    kp_asm_mov(b->code, R1, R9);
    kp_asm_alu_by(b->code, KP_AND, R1, KP_CALL_SLOT);
    kp_asm_alu_by(b->code, KP_MUL, R1, KP_CALL_BUCKETS);
    kp_asm_alu(b->code, KP_ADD, R2, R1);
    kp_asm_mov(b->code, R3, R2);
    kp_asm_alu_by(b->code, KP_AND, R3, KP_CALL_GATHERED - 1);
    kp_asm_load(b->code, KP_W64, R1, R10, AT_PLACE);
    kp_asm_alu_by(b->code, KP_LSH, R1, KP_CALL_GATHER_BITS);
    kp_asm_alu(b->code, KP_ADD, R3, R1);
    kp_asm_if_value(b->code, R3, KP_IF_GE, places, done);
    kp_asm_alu_by(b->code, KP_LSH, R3, 4);
    kp_asm_map_value(b->code, R5, b->plan->gathered, 0);
    kp_asm_alu(b->code, KP_ADD, R5, R3);
    kp_asm_load(b->code, KP_W64, R1, R5, (int)offsetof(struct kp_call_gathered, key));
    kp_asm_if(b->code, R1, KP_IF_NE, R2, other);
    increment(b, R5, (int)offsetof(struct kp_call_gathered, count));
    kp_asm_jump(b->code, done);
    kp_asm_bind(b->code, other);
    give_place(b);
}

static void keyed_bucket(struct builder *b)
{
    kp_label there = kp_asm_label(b->code), done = kp_asm_label(b->code);
    kp_asm_store(b->code, KP_W32, R10, AT_KEY + (int)offsetof(struct kp_call_place, cpu), R2);
    set_key(b);
    look_up(b, b->plan->buckets, AT_KEY);
    kp_asm_if_value(b->code, R0, KP_IF_NE, 0, there);
    clear(b, AT_ZERO, 8);
    update(b, b->plan->buckets, AT_KEY, AT_ZERO, NOT_BEFORE);
    look_up(b, b->plan->buckets, AT_KEY);
    kp_asm_if_value(b->code, R0, KP_IF_NE, 0, there);
    count_loss(b, offsetof(struct kp_call_control, lost_buckets));
    kp_asm_jump(b->code, done);
    kp_asm_bind(b->code, there);
    kp_asm_set(b->code, R1, 1);
    kp_asm_atomic_add(b->code, R0, 0, R1);
    kp_asm_bind(b->code, done);
}

static void count_bucket(struct builder *b, kp_label done)
{
    kp_label by_key = kp_asm_label(b->code);
    find_bucket(b);
    if (dense(b) && sparse(b)) {
        kp_asm_mov(b->code, R1, R9);
        kp_asm_alu_by(b->code, KP_AND, R1, KP_CALL_SLOT);
        kp_asm_if_value(b->code, R1, KP_IF_EQ, KP_CALL_SPARSE, by_key);
    }
    if (dense(b)) {
        dense_bucket(b, done);
        kp_asm_jump(b->code, done);
    }
    kp_asm_bind(b->code, by_key);
    if (sparse(b))
        keyed_bucket(b);
}

/* ---- a call that is over ---- */

enum outcome { AS_RETURNED, INTERRUPTED };

/* Skips to `fine` unless the call returned an error. */
static void if_fine(struct builder *b, kp_label fine)
{
    kp_asm_load(b->code, KP_W64, R1, R6, 8);
    kp_asm_if_value(b->code, R1, KP_IF_LT, -KP_MOST_ERRNO, fine); /* unsigned */
}

/* Counts r7's call, whose entry is r9, and which took r8 ns; goes on at `done`. */
static void count_call(struct builder *b, enum outcome outcome, kp_label done)
{
    kp_label shorter = kp_asm_label(b->code), fine = kp_asm_label(b->code);
    find_row(b, done);
    increment(b, R0, COUNTS(count));
    kp_asm_load(b->code, KP_W64, R1, R0, COUNTS(total_ns));
    kp_asm_alu(b->code, KP_ADD, R1, R8);
    kp_asm_store(b->code, KP_W64, R0, COUNTS(total_ns), R1);
    kp_asm_load(b->code, KP_W64, R1, R0, COUNTS(max_ns));
    kp_asm_if(b->code, R1, KP_IF_GE, R8, shorter);
    kp_asm_store(b->code, KP_W64, R0, COUNTS(max_ns), R8);
    kp_asm_bind(b->code, shorter);
    if (outcome == AS_RETURNED)
        if_fine(b, fine);
    increment(b, R0, COUNTS(errors));
    kp_asm_bind(b->code, fine);
    count_bucket(b, done);
    kp_asm_bind(b->code, done);
}

/* r7's call was interrupted and did not go on: it ended then. */
static void count_interrupted(struct builder *b)
{
    kp_asm_load(b->code, KP_W32, R9, R7, THREAD(entry));
    kp_asm_load(b->code, KP_W64, R8, R7, THREAD(paused));
    kp_asm_load(b->code, KP_W64, R1, R7, THREAD(start));
    kp_asm_alu(b->code, KP_SUB, R8, R1);
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(start), 0);
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(paused), 0);
    count_call(b, INTERRUPTED, kp_asm_label(b->code));
}

/* ---- the programs; r6 is what the tracepoint hands over ---- */

static void on_enter(struct builder *b)
{
    kp_label known = kp_asm_label(b->code), begin = kp_asm_label(b->code);
    kp_label stranger = kp_asm_label(b->code), other = kp_asm_label(b->code);
    kp_label waiting = kp_asm_label(b->code);
    kp_asm_load(b->code, KP_W64, R8, R6, 8);
    find_entry(b);
    kp_asm_mov(b->code, R1, R9);
    kp_asm_alu_by(b->code, KP_AND, R1, KP_CALL_TRACED | KP_CALL_RESTARTS);
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, b->out);
    need_cpu(b);
    find_thread(b, stranger);
    kp_asm_jump(b->code, known);
    kp_asm_bind(b->code, stranger);
    new_thread(b);
    kp_asm_bind(b->code, known);
    need_followed(b);
    /* A call that has not returned: it waits to go on, or its end was missed. */
    kp_asm_load(b->code, KP_W64, R1, R7, THREAD(start));
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, begin);
    load_control(b, R2, offsetof(struct kp_call_control, since));
    kp_asm_if(b->code, R1, KP_IF_LT, R2, begin);
    kp_asm_load(b->code, KP_W64, R1, R7, THREAD(paused));
    kp_asm_if_value(b->code, R1, KP_IF_NE, 0, waiting);
    count_loss(b, offsetof(struct kp_call_control, lost_calls));
    kp_asm_jump(b->code, begin);
    kp_asm_bind(b->code, waiting);
    kp_asm_if_value(b->code, R9, KP_IF_SET, KP_CALL_RESTARTS, other);
    kp_asm_store(b->code, KP_W64, R10, AT_ENTRY, R9);
    count_interrupted(b);
    kp_asm_load(b->code, KP_W64, R9, R10, AT_ENTRY);
    kp_asm_bind(b->code, begin);
    /* What is resumed here began where nobody saw it. */
    kp_asm_if_value(b->code, R9, KP_IF_SET, KP_CALL_RESTARTS, b->out);
    set_number(b);
    kp_asm_store_value(b->code, KP_W32, R7, THREAD(flags), 0);
    kp_asm_store(b->code, KP_W32, R7, THREAD(entry), R9);
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(paused), 0);
    kp_asm_call(b->code, KP_BPF_KTIME_GET_NS);
    kp_asm_store(b->code, KP_W64, R7, THREAD(start), R0);
    kp_asm_jump(b->code, b->out);
    kp_asm_bind(b->code, other); /* it goes on */
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(paused), 0);
}

/* The end of a call whose beginning was not seen; r7 is the thread's item or 0. */
static void on_lone_exit(struct builder *b)
{
    kp_label known = kp_asm_label(b->code), counted = kp_asm_label(b->code);
    load_control(b, R1, offsetof(struct kp_call_control, since));
    kp_asm_if_value(b->code, R1, KP_IF_EQ, NO_WINDOW, b->out);
    kp_asm_load(b->code, KP_W64, R1, R6, 8);
    kp_asm_if_value(b->code, R1, KP_IF_EQ, -ERESTART_RESTARTBLOCK, b->out); /* no end yet */
    kp_asm_load(b->code, KP_W64, R1, R6, 0);
    kp_asm_load(b->code, KP_W32, R8, R1, b->plan->offsets.regs_number);
    kp_asm_if_value32(b->code, R8, KP_IF_SLT, 0, b->out); /* rt_sigreturn leaves none */
    find_entry(b);
    kp_asm_mov(b->code, R1, R9);
    kp_asm_alu_by(b->code, KP_AND, R1, KP_CALL_TRACED);
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, b->out);
    need_cpu(b);
    /* Its beginning may have been seen, and have had no room. */
    load_control(b, R1, offsetof(struct kp_call_control, lost_threads));
    kp_asm_if_value(b->code, R1, KP_IF_NE, 0, b->out);
    /* A known thread may have made it on a CPU that is not traced. */
    kp_asm_if_value(b->code, R7, KP_IF_NE, 0, b->plan->some_cpus ? b->out : known);
    new_thread(b);
    need_followed(b);
    kp_asm_bind(b->code, known);
    set_number(b);
    find_row(b, counted);
    increment(b, R0, COUNTS(begun_before));
    kp_asm_bind(b->code, counted);
}

/* A new thread's first return, of r1's flags, is that of its parent's clone. */
static void on_birth(struct builder *b, kp_label goes_on)
{
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, goes_on);
    kp_asm_store_value(b->code, KP_W32, R7, THREAD(flags), 0);
    kp_asm_load(b->code, KP_W64, R1, R6, 8);
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, b->out);
}

static void on_exit(struct builder *b)
{
    kp_label alone = kp_asm_label(b->code), stale = kp_asm_label(b->code);
    kp_label not_paused = kp_asm_label(b->code), over = kp_asm_label(b->code);
    find_thread(b, alone);
    need_followed(b);
    kp_label goes_on = kp_asm_label(b->code);
    on_birth(b, goes_on);
    kp_asm_bind(b->code, goes_on);
    kp_asm_load(b->code, KP_W64, R8, R7, THREAD(start));
    kp_asm_if_value(b->code, R8, KP_IF_EQ, 0, alone);
    load_control(b, R1, offsetof(struct kp_call_control, since));
    kp_asm_if(b->code, R8, KP_IF_LT, R1, stale);
    kp_asm_load(b->code, KP_W32, R9, R7, THREAD(entry));
    kp_asm_load(b->code, KP_W64, R1, R7, THREAD(paused));
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, not_paused);
    count_interrupted(b);
    kp_asm_jump(b->code, b->out);

    kp_asm_bind(b->code, not_paused);
    kp_asm_call(b->code, KP_BPF_KTIME_GET_NS);
    kp_asm_load(b->code, KP_W64, R1, R6, 8);
    kp_asm_if_value(b->code, R1, KP_IF_NE, -ERESTART_RESTARTBLOCK, over);
    kp_asm_store(b->code, KP_W64, R7, THREAD(paused), R0);
    kp_asm_jump(b->code, b->out);
    kp_asm_bind(b->code, over);
    kp_asm_alu(b->code, KP_SUB, R0, R8);
    kp_asm_mov(b->code, R8, R0);
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(start), 0);
    count_call(b, AS_RETURNED, kp_asm_label(b->code));
    kp_asm_jump(b->code, b->out);

    kp_asm_bind(b->code, stale);
    kp_asm_store_value(b->code, KP_W64, R7, THREAD(start), 0);
    kp_asm_bind(b->code, alone);
    on_lone_exit(b);
}

/* Leaves unless the current thread is followed, or of a process that is. */
static void need_parent(struct builder *b)
{
    kp_label stranger = kp_asm_label(b->code), known = kp_asm_label(b->code);
    if (b->plan->targets < 0)
        return;
    find_thread(b, stranger);
    need_followed(b);
    kp_asm_jump(b->code, known);
    kp_asm_bind(b->code, stranger);
    describe_current(b);
    find_target(b, b->out);
    kp_asm_bind(b->code, known);
}

/* A new item for the task at r8, at AT_THREAD. */
static void describe_child(struct builder *b)
{
    const struct kp_call_offsets *offsets = &b->plan->offsets;
    clear(b, AT_THREAD, sizeof(struct kp_call_thread));
    kp_asm_load(b->code, KP_W32, R1, R8, offsets->task_pid);
    kp_asm_store(b->code, KP_W32, R10, AT_TID, R1);
    kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(tid), R1);
    kp_asm_load(b->code, KP_W32, R1, R8, offsets->task_tgid);
    kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(pid), R1);
    if (b->plan->nested > 0) {
        kp_asm_store(b->code, KP_W64, R10, AT_TASK, R8);
        nested_ids(b);
    }
}

/* Its later threads are found by this even where they had no room themselves. */
static void new_target(struct builder *b)
{
    kp_asm_load(b->code, KP_W32, R1, R10, AT_THREAD + THREAD(pid));
    kp_asm_store(b->code, KP_W32, R10, AT_TARGET, R1);
    clear(b, AT_ZERO, 8);
    update(b, b->plan->targets, AT_TARGET, AT_ZERO, 0);
}

/* sched_process_fork(parent, child): the child of a target is one. */
static void on_fork(struct builder *b)
{
    kp_label made = kp_asm_label(b->code);
    int left_out = b->plan->targets >= 0 && !b->plan->follow;
    need_parent(b);
    kp_asm_load(b->code, KP_W64, R8, R6, 8);
    describe_child(b);
    kp_asm_store_value(b->code, KP_W32, R10, AT_THREAD + THREAD(flags),
                       left_out ? KP_CALL_LEFT_OUT : KP_CALL_NEWBORN);
    update(b, b->plan->threads, AT_TID, AT_THREAD, 0);
    kp_asm_if_value(b->code, R0, KP_IF_EQ, 0, made);
    count_loss(b, offsetof(struct kp_call_control, lost_threads));
    kp_asm_bind(b->code, made);
    if (b->plan->targets >= 0 && b->plan->follow)
        new_target(b);
}

/* A command that was held until now is followed from here on. */
static void let_go(struct builder *b)
{
    kp_label none = kp_asm_label(b->code);
    describe_current(b);
    find_target(b, none);
    kp_asm_store_value(b->code, KP_W64, R0, 0, 0);
    kp_asm_bind(b->code, none);
}

/* sched_process_exec(task, old tid, binary): the thread takes over its leader's id. */
static void on_exec(struct builder *b)
{
    const int old_at = AT_TARGET;
    if (b->plan->targets >= 0)
        let_go(b);
    kp_asm_call(b->code, KP_BPF_GET_CURRENT_PID_TGID);
    kp_asm_store(b->code, KP_W32, R10, AT_TID, R0);
    kp_asm_load(b->code, KP_W64, R1, R6, 8);
    kp_asm_store(b->code, KP_W32, R10, old_at, R1);
    look_up(b, b->plan->threads, old_at);
    kp_asm_mov(b->code, R7, R0);
    kp_asm_if_value(b->code, R7, KP_IF_EQ, 0, b->out);
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(flags));
    kp_asm_alu_by(b->code, KP_AND, R1, ~KP_CALL_HELD);
    kp_asm_store(b->code, KP_W32, R7, THREAD(flags), R1);
    kp_asm_load(b->code, KP_W32, R1, R10, AT_TID);
    kp_asm_load(b->code, KP_W32, R2, R10, old_at);
    kp_asm_if(b->code, R1, KP_IF_EQ, R2, b->out);
    for (int at = 0; at < (int)sizeof(struct kp_call_thread); at += 8) {
        kp_asm_load(b->code, KP_W64, R1, R7, at);
        kp_asm_store(b->code, KP_W64, R10, AT_THREAD + at, R1);
    }
    kp_asm_load(b->code, KP_W32, R1, R7, THREAD(pid));
    kp_asm_store(b->code, KP_W32, R10, AT_THREAD + THREAD(tid), R1);
    erase(b, b->plan->threads, old_at);
    update(b, b->plan->threads, AT_TID, AT_THREAD, 0);
    kp_asm_if_value(b->code, R0, KP_IF_EQ, 0, b->out);
    count_loss(b, offsetof(struct kp_call_control, lost_threads));
}

/* sched_process_exit(task): its ids may be another's soon. */
static void on_end(struct builder *b)
{
    const struct kp_call_offsets *offsets = &b->plan->offsets;
    kp_label done = kp_asm_label(b->code), others = kp_asm_label(b->code);
    find_thread(b, b->out);
    kp_asm_load(b->code, KP_W64, R1, R7, THREAD(start));
    kp_asm_if_value(b->code, R1, KP_IF_EQ, 0, done);
    load_control(b, R2, offsetof(struct kp_call_control, since));
    kp_asm_if(b->code, R1, KP_IF_LT, R2, done);
    kp_asm_load(b->code, KP_W32, R9, R7, THREAD(entry));
    find_row(b, done);
    increment(b, R0, COUNTS(unfinished));
    kp_asm_bind(b->code, done);
    if (b->plan->targets >= 0) {
        kp_asm_load(b->code, KP_W64, R1, R6, 0);
        kp_asm_load(b->code, KP_W64, R1, R1, offsets->task_signal);
        kp_asm_load(b->code, KP_W32, R1, R1, offsets->signal_live);
        kp_asm_if_value(b->code, R1, KP_IF_NE, 0, others);
        kp_asm_load(b->code, KP_W32, R1, R7, THREAD(pid));
        kp_asm_store(b->code, KP_W32, R10, AT_TARGET, R1);
        erase(b, b->plan->targets, AT_TARGET);
        kp_asm_bind(b->code, others);
    }
    erase(b, b->plan->threads, AT_TID);
}

static int finish(struct builder *b)
{
    kp_asm_bind(b->code, b->out);
    kp_asm_set(b->code, R0, 0);
    kp_asm_exit(b->code);
    return kp_asm_finish(b->code);
}

static struct builder start(const struct kp_call_plan *plan, struct kp_asm *code)
{
    kp_asm_start(code);
    return (struct builder){.plan = plan, .code = code, .out = kp_asm_label(code)};
}

int kp_call_program(const struct kp_call_plan *plan, enum kp_call_program which, struct kp_asm *out)
{
    static void (*const programs[KP_CALL_PROGRAMS])(struct builder *) = {
        [KP_CALL_ON_ENTER] = on_enter, [KP_CALL_ON_EXIT] = on_exit, [KP_CALL_ON_FORK] = on_fork,
        [KP_CALL_ON_EXEC] = on_exec,   [KP_CALL_ON_END] = on_end,
    };
    struct builder b = start(plan, out);
    kp_asm_mov(out, R6, R1);
    programs[which](&b);
    return finish(&b);
}

int kp_call_namespace_program(const struct kp_call_plan *plan, struct kp_asm *out)
{
    enum { UPID = 16, UPID_NAMESPACE = 8 };
    const struct kp_call_offsets *offsets = &plan->offsets;
    struct builder b = start(plan, out);
    kp_asm_call(out, KP_BPF_GET_CURRENT_TASK);
    kp_asm_store(out, KP_W64, R10, AT_TASK, R0);
    read_from(&b, AT_TASK, offsets->task_thread_pid, 8);
    kp_asm_load(out, KP_W64, R1, R10, AT_READ);
    kp_asm_store(out, KP_W64, R10, AT_PID, R1);
    read_from(&b, AT_PID, offsets->pid_level, 4);
    kp_asm_load(out, KP_W32, R8, R10, AT_READ);
    kp_asm_mov(out, R1, R8);
    kp_asm_alu_by(out, KP_MUL, R1, UPID);
    kp_asm_load(out, KP_W64, R2, R10, AT_PID);
    kp_asm_alu(out, KP_ADD, R1, R2);
    kp_asm_mov(out, R3, R1);
    kp_asm_alu_by(out, KP_ADD, R3, offsets->pid_numbers + UPID_NAMESPACE);
    read_kernel(&b, 8);
    kp_asm_load(out, KP_W64, R1, R10, AT_READ);
    kp_asm_map_value(out, R2, plan->control, 0);
    kp_asm_store(out, KP_W64, R2, (int)offsetof(struct kp_call_control, since), R1);
    kp_asm_bind(out, b.out);
    kp_asm_mov(out, R0, R8);
    kp_asm_exit(out);
    return kp_asm_finish(out);
}
