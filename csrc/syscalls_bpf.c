/* SPDX-License-Identifier: Apache-2.0
 * System calls added up in the kernel by BPF programs, and the reader of what they count. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bpf.h"
#include "btf.h"
#include "error.h"
#include "kperf_core.h"
#include "syscalls_bpf_code.h"
#include "target.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum {
    FEWEST_THREADS = 16 << 10,
    MOST_THREADS = 1 << 20,
    FEW_KEYED = 4 << 10, /* where only unlisted numbers are keyed */
    MANY_KEYED = 64 << 10,
    BUCKETS_A_ROW = 4,
    USUAL_NUMBERS = 480 /* system calls that there are, and some to come */
};

static const uint64_t NO_WINDOW = UINT64_MAX;

enum { CONTROL, ROWS, GATHERED, HISTOGRAMS, THREADS, TARGETS, KEYED, BUCKETS, N_MAPS };

struct kp_bpf_calls {
    pid_t owner;
    struct kp_call_plan plan;
    struct kp_call_number *slots; /* which call each dense row is of */
    struct kp_bpf_map maps[N_MAPS];
    struct kp_bpf_barrier barrier;
    int programs[KP_CALL_PROGRAMS];
    int links[KP_CALL_PROGRAMS];
    struct kp_call_control *control; /* memory shared with the programs */
    struct kp_call_counts *rows;
    struct kp_call_gathered *gathered;
    uint64_t *histograms;
    uint64_t since; /* where the last window began, also when it is over */
    uint64_t seen_lost, seen_dropped;
    int unread_end; /* it ended with calls that no read has counted as unfinished */
};

/* The tracepoints, as the kernel's types name them. */
static const char *const tracepoints[KP_CALL_PROGRAMS] = {
    [KP_CALL_ON_ENTER] = "btf_trace_sys_enter",
    [KP_CALL_ON_EXIT] = "btf_trace_sys_exit",
    [KP_CALL_ON_FORK] = "btf_trace_sched_process_fork",
    [KP_CALL_ON_EXEC] = "btf_trace_sched_process_exec",
    [KP_CALL_ON_END] = "btf_trace_sched_process_exit",
};

static const char *const names[KP_CALL_PROGRAMS] = {"enter", "exit", "fork", "exec", "end"};

/* ---- which calls ---- */

static int every(const struct kp_call_options *options)
{
    return options->n_numbers == 0 && options->n_numbers_32 == 0;
}

/* The number of a dense row's call. */
static struct kp_call_number number_of(const struct kp_call_options *options, uint32_t slot)
{
    if (every(options))
        return (struct kp_call_number){.number = slot, .bits = 64};
    if (slot < options->n_numbers)
        return (struct kp_call_number){.number = options->numbers[slot], .bits = 64};
    return (struct kp_call_number){.number = options->numbers_32[slot - options->n_numbers],
                                   .bits = 32};
}

/* How many calls get dense rows. */
static uint32_t count_slots(const struct kp_call_options *options)
{
    size_t listed = (size_t)options->n_numbers + options->n_numbers_32;
    if (options->key != KP_CALLS_TOGETHER)
        return 1; /* which stays empty */
    if (every(options))
        return USUAL_NUMBERS;
    return listed < KP_CALL_MOST_SLOTS ? (uint32_t)listed : KP_CALL_MOST_SLOTS;
}

static int check_numbers(const uint32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (numbers[i] >= KP_CALL_NUMBERS)
            return kp_fail(KP_E_ARGUMENT, EINVAL, "no such system call: %u", numbers[i]);
    return 0;
}

static void fill_entries(struct kp_bpf_calls *calls, const struct kp_call_options *options)
{
    uint16_t(*entries)[KP_CALL_NUMBERS] = calls->control->entries;
    const uint32_t *numbers[] = {options->numbers, options->numbers_32};
    const uint32_t n[] = {options->n_numbers, options->n_numbers_32};
    for (int i = 0; every(options) && i < KP_CALL_NUMBERS; i++)
        entries[0][i] = entries[1][i] = KP_CALL_TRACED | KP_CALL_SPARSE;
    for (int table = 0; table < 2; table++)
        for (uint32_t i = 0; i < n[table]; i++)
            entries[table][numbers[table][i]] = KP_CALL_TRACED | KP_CALL_SPARSE;
    for (uint32_t i = 0; i < calls->plan.n_slots; i++) {
        struct kp_call_number call = number_of(options, i);
        if (options->key == KP_CALLS_TOGETHER)
            entries[call.bits == 32][call.number] = (uint16_t)(KP_CALL_TRACED | i);
    }
    entries[0][options->restart % KP_CALL_NUMBERS] |= KP_CALL_RESTARTS;
    entries[1][options->restart_32 % KP_CALL_NUMBERS] |= KP_CALL_RESTARTS;
}

/* ---- what the kernel looks like ---- */

#if defined(__aarch64__)
static const char number_member[] = "syscallno", compat_member[] = "pstate";
enum { COMPAT_IN_TASK = 0 };
#else
static const char number_member[] = "orig_ax", compat_member[] = "thread_info.status";
enum { COMPAT_IN_TASK = 1 };
#endif

/* The kernel's types that matter here: the tracepoints of the programs, and structures. */
enum { TASK = KP_CALL_PROGRAMS, REGS, SIGNAL, PID, N_TYPES };

static void find_types(const struct kp_btf *btf, struct kp_btf_name *types)
{
    for (int i = 0; i < KP_CALL_PROGRAMS; i++)
        types[i] = (struct kp_btf_name){tracepoints[i], KP_BTF_TYPEDEF, 0};
    types[TASK] = (struct kp_btf_name){"task_struct", KP_BTF_STRUCT, 0};
    types[REGS] = (struct kp_btf_name){"pt_regs", KP_BTF_STRUCT, 0};
    types[SIGNAL] = (struct kp_btf_name){"signal_struct", KP_BTF_STRUCT, 0};
    types[PID] = (struct kp_btf_name){"pid", KP_BTF_STRUCT, 0};
    kp_btf_find(btf, types, N_TYPES);
}

static int find_offsets(const struct kp_btf *btf, const struct kp_btf_name *types,
                        struct kp_call_offsets *out)
{
    const struct {
        int type;
        const char *member;
        int32_t *offset;
    } wanted[] = {{REGS, number_member, &out->regs_number},
                  {COMPAT_IN_TASK ? TASK : REGS, compat_member, &out->regs_compat},
                  {TASK, "pid", &out->task_pid},
                  {TASK, "tgid", &out->task_tgid},
                  {TASK, "signal", &out->task_signal},
                  {TASK, "thread_pid", &out->task_thread_pid},
                  {TASK, "group_leader", &out->task_group_leader},
                  {SIGNAL, "live.counter", &out->signal_live},
                  {PID, "level", &out->pid_level},
                  {PID, "numbers", &out->pid_numbers}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
        *wanted[i].offset = kp_btf_offset(btf, types[wanted[i].type].id, wanted[i].member);
        if (*wanted[i].offset < 0)
            return kp_fail(KP_E_KERNEL, ENOENT, "this kernel's types have no %s.%s",
                           types[wanted[i].type].name, wanted[i].member);
    }
    return 0;
}

static uint32_t possible_cpus(void)
{
    unsigned first, last;
    FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
    int n = file == NULL ? 0 : fscanf(file, "%u-%u", &first, &last);
    if (file != NULL)
        fclose(file);
    if (n == 2 && last < KP_CALL_MOST_CPUS)
        return last + 1;
    long configured = sysconf(_SC_NPROCESSORS_CONF);
    return configured > 0 && configured <= KP_CALL_MOST_CPUS ? (uint32_t)configured : 1;
}

/* Room for the threads that there are, and as many again, and more. */
static uint32_t room_for_threads(void)
{
    unsigned long total = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    if (file == NULL || fscanf(file, "%*s %*s %*s %*u/%lu", &total) != 1)
        total = 0;
    if (file != NULL)
        fclose(file);
    uint64_t room = (uint64_t)total * 4;
    room = room < FEWEST_THREADS ? FEWEST_THREADS : room;
    return room < MOST_THREADS ? (uint32_t)room : MOST_THREADS;
}

/* Whether kperf lives in the first pid namespace: then the kernel's ids are ours. */
static int in_first_namespace(void)
{
    enum { FIRST_PID_NAMESPACE = 0xeffffffc };
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == (ino_t)FIRST_PID_NAMESPACE;
}

static int find_namespace(struct kp_bpf_calls *calls, struct kp_asm *code)
{
    int program = -1;
    uint32_t level = 0;
    if (in_first_namespace())
        return 0;
    int rc = kp_call_namespace_program(&calls->plan, code);
    if (rc == 0)
        rc = kp_bpf_load("namespace", KP_BPF_RAW_TRACEPOINT, 0, code, &program);
    if (rc == 0)
        rc = kp_bpf_run_once(program, &level);
    if (program >= 0)
        close(program);
    calls->plan.nested = (int)level;
    calls->plan.namespace = calls->control->since;
    return rc;
}

/* ---- set-up ---- */

/* Whom and what to follow. */
struct request {
    const struct kp_call_options *options;
    const struct kp_target *target;
    const int32_t *cpus;
    size_t n_cpus;
    uint32_t flags;
};

static int create_memory(struct kp_bpf_calls *calls)
{
    struct kp_call_plan *plan = &calls->plan;
    size_t banks = 2, slots = plan->n_slots;
    const struct {
        const char *name;
        size_t bytes;
        void **memory;
    } wanted[] = {
        [CONTROL] = {"control", sizeof(*calls->control), (void **)&calls->control},
        [ROWS] = {"rows", banks * plan->n_cpus * slots * sizeof(*calls->rows),
                  (void **)&calls->rows},
        [GATHERED] = {"gathered",
                      banks * plan->n_cpus * KP_CALL_GATHERED * sizeof(*calls->gathered),
                      (void **)&calls->gathered},
        [HISTOGRAMS] = {"histograms", banks * slots * KP_CALL_BUCKETS * sizeof(*calls->histograms),
                        (void **)&calls->histograms},
    };
    for (int i = CONTROL; i <= HISTOGRAMS; i++) {
        int rc = kp_bpf_memory_create(wanted[i].name, wanted[i].bytes, &calls->maps[i],
                                      wanted[i].memory);
        if (rc != 0)
            return rc;
    }
    calls->control->since = NO_WINDOW;
    return 0;
}

static int create_maps(struct kp_bpf_calls *calls, const struct request *request)
{
    uint32_t keyed = request->options->key == KP_CALLS_TOGETHER ? FEW_KEYED : MANY_KEYED;
    int rc =
        kp_bpf_map_create("threads", KP_BPF_HASH, sizeof(uint32_t), sizeof(struct kp_call_thread),
                          room_for_threads(), &calls->maps[THREADS]);
    if (rc == 0 && request->target->n_pids > 0)
        rc = kp_bpf_map_create("targets", KP_BPF_HASH, sizeof(uint32_t), sizeof(uint64_t),
                               room_for_threads(), &calls->maps[TARGETS]);
    if (rc == 0)
        rc = kp_bpf_map_create("keyed", KP_BPF_HASH, sizeof(struct kp_call_place),
                               sizeof(struct kp_call_keyed), keyed, &calls->maps[KEYED]);
    if (rc == 0)
        rc = kp_bpf_map_create("buckets", KP_BPF_HASH, sizeof(struct kp_call_place),
                               sizeof(uint64_t), keyed * BUCKETS_A_ROW, &calls->maps[BUCKETS]);
    return rc == 0 ? kp_bpf_barrier_create(&calls->barrier) : rc;
}

static void plan_maps(struct kp_bpf_calls *calls)
{
    struct kp_call_plan *plan = &calls->plan;
    plan->control = calls->maps[CONTROL].fd;
    plan->rows = calls->maps[ROWS].fd;
    plan->gathered = calls->maps[GATHERED].fd;
    plan->histograms = calls->maps[HISTOGRAMS].fd;
    plan->threads = calls->maps[THREADS].fd;
    plan->targets = calls->maps[TARGETS].fd;
    plan->keyed = calls->maps[KEYED].fd;
    plan->buckets = calls->maps[BUCKETS].fd;
}

static int add_targets(struct kp_bpf_calls *calls, const struct request *request)
{
    uint64_t value = request->flags & KP_ENABLE_ON_EXEC ? KP_CALL_HELD : 0;
    for (size_t i = 0; i < request->target->n_pids; i++) {
        int32_t pid = kp_task_process(request->target->pids[i]);
        if (pid < 0)
            return kp_fail_at(KP_E_NO_PROCESS, ESRCH, -1, -1, request->target->pids[i],
                              "cannot find the process");
        if (kp_bpf_map_put(&calls->maps[TARGETS], &pid, &value) != 0)
            return kp_fail(KP_E_KERNEL, errno, "no room for process %d in a BPF map", pid);
    }
    return 0;
}

static int load_program(struct kp_bpf_calls *calls, enum kp_call_program which, uint32_t type,
                        struct kp_asm *code)
{
    int rc = kp_call_program(&calls->plan, which, code);
    if (rc == 0)
        rc = kp_bpf_load(names[which], KP_BPF_TRACING, type, code, &calls->programs[which]);
    return rc;
}

static int load_programs(struct kp_bpf_calls *calls, const struct kp_btf_name *types,
                         struct kp_asm *code)
{
    for (int i = 0; i < KP_CALL_PROGRAMS; i++) {
        if (types[i].id == 0)
            return kp_fail(KP_E_KERNEL, ENOENT, "this kernel has no tracepoint %s",
                           tracepoints[i] + strlen("btf_trace_"));
        int rc = load_program(calls, (enum kp_call_program)i, types[i].id, code);
        if (rc != 0 && calls->plan.task_btf) { /* a helper of Linux 5.11 */
            calls->plan.task_btf = 0;
            rc = load_program(calls, (enum kp_call_program)i, types[i].id, code);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int attach(struct kp_bpf_calls *calls, enum kp_call_program which)
{
    if (calls->links[which] >= 0)
        return 0;
    return kp_bpf_attach(names[which], calls->programs[which], &calls->links[which]);
}

static void detach(struct kp_bpf_calls *calls, enum kp_call_program which)
{
    if (calls->links[which] >= 0)
        close(calls->links[which]);
    calls->links[which] = -1;
}

static int prepare(struct kp_bpf_calls *calls, const struct request *request,
                   const struct kp_btf *btf, struct kp_asm *code)
{
    struct kp_btf_name types[N_TYPES];
    find_types(btf, types);
    int rc = find_offsets(btf, types, &calls->plan.offsets);
    if (rc == 0)
        rc = create_memory(calls);
    if (rc == 0)
        rc = create_maps(calls, request);
    if (rc != 0)
        return rc;
    plan_maps(calls);
    rc = find_namespace(calls, code);
    calls->control->since = NO_WINDOW;
    if (rc == 0)
        rc = load_programs(calls, types, code);
    if (rc == 0 && request->target->n_pids > 0)
        rc = add_targets(calls, request);
    if (rc != 0)
        return rc;
    fill_entries(calls, request->options);
    for (size_t i = 0; i < request->n_cpus; i++)
        calls->control->cpus[request->cpus[i]] = 1;
    for (int i = KP_CALL_ON_END; rc == 0 && i >= KP_CALL_ON_FORK; i--)
        rc = attach(calls, (enum kp_call_program)i);
    return rc;
}

static int check(const struct request *request)
{
    const struct kp_call_options *options = request->options;
    int rc = check_numbers(options->numbers, options->n_numbers);
    if (rc == 0)
        rc = check_numbers(options->numbers_32, options->n_numbers_32);
    for (size_t i = 0; rc == 0 && i < request->n_cpus; i++)
        if (request->cpus[i] < 0 || request->cpus[i] >= KP_CALL_MOST_CPUS)
            rc = kp_fail_at(KP_E_CPU, EINVAL, -1, request->cpus[i], -1, "no such CPU");
    if (rc == 0 && options->with_list)
        rc = kp_fail(KP_E_ARGUMENT, EINVAL, "BPF programs keep no list of calls");
    if (rc == 0 && (request->target->n_tids > 0 || request->target->cgroup_fd >= 0))
        rc = kp_fail(KP_E_ARGUMENT, EINVAL, "BPF programs follow processes, not single threads");
    return rc;
}

static struct kp_bpf_calls *blank(const struct request *request)
{
    const struct kp_call_options *options = request->options;
    struct kp_bpf_calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return NULL;
    calls->owner = getpid();
    calls->barrier = (struct kp_bpf_barrier){-1, -1};
    for (int i = 0; i < N_MAPS; i++)
        calls->maps[i].fd = -1;
    for (int i = 0; i < KP_CALL_PROGRAMS; i++)
        calls->programs[i] = calls->links[i] = -1;
    calls->plan = (struct kp_call_plan){.n_cpus = possible_cpus(),
                                        .n_slots = count_slots(options),
                                        .key = options->key,
                                        .every = every(options),
                                        .some_cpus = request->n_cpus > 0,
                                        .follow = (request->flags & KP_INHERIT) != 0,
                                        .task_btf = 1};
    calls->slots = calloc(calls->plan.n_slots, sizeof(*calls->slots));
    if (calls->slots == NULL) {
        free(calls);
        return NULL;
    }
    for (uint32_t i = 0; options->key == KP_CALLS_TOGETHER && i < calls->plan.n_slots; i++)
        calls->slots[i] = number_of(options, i);
    return calls;
}

static int create_prepared(const struct request *request, const struct kp_btf *btf,
                           struct kp_bpf_calls **out)
{
    int rc;
    struct kp_bpf_calls *calls = blank(request);
    struct kp_asm *code = malloc(sizeof(*code));
    if (calls == NULL || code == NULL)
        rc = kp_fail(KP_E_NOMEM, ENOMEM, "no memory to trace system calls");
    else
        rc = prepare(calls, request, btf, code);
    free(code);
    if (rc == 0)
        *out = calls;
    else
        kp_bpf_calls_destroy(calls);
    return rc;
}

int kp_bpf_calls_create(const struct kp_call_options *options, const struct kp_target *target,
                        const int32_t *cpus, size_t n_cpus, uint32_t flags,
                        struct kp_bpf_calls **out)
{
    struct request request = {options, target, cpus, n_cpus, flags};
    struct kp_btf btf;
    int rc = check(&request);
    if (rc == 0)
        rc = kp_bpf_probe();
    if (rc == 0)
        rc = kp_btf_read("/sys/kernel/btf/vmlinux", &btf);
    if (rc != 0)
        return rc;
    rc = create_prepared(&request, &btf, out);
    kp_btf_free(&btf);
    return rc;
}

static void unmap(void *memory, const struct kp_bpf_map *map)
{
    if (memory != NULL)
        munmap(memory, map->value_size);
}

void kp_bpf_calls_destroy(struct kp_bpf_calls *calls)
{
    if (calls == NULL)
        return;
    for (int i = 0; i < KP_CALL_PROGRAMS; i++) {
        detach(calls, (enum kp_call_program)i);
        if (calls->programs[i] >= 0)
            close(calls->programs[i]);
    }
    unmap(calls->control, &calls->maps[CONTROL]);
    unmap(calls->rows, &calls->maps[ROWS]);
    unmap(calls->gathered, &calls->maps[GATHERED]);
    unmap(calls->histograms, &calls->maps[HISTOGRAMS]);
    for (int i = 0; i < N_MAPS; i++)
        kp_bpf_map_close(&calls->maps[i]);
    kp_bpf_barrier_close(&calls->barrier);
    free(calls->slots);
    free(calls);
}

void kp_bpf_calls_abandon(struct kp_bpf_calls *calls)
{
    /* What a child closes and unmaps is its own copy; the programs are held by the parent's. */
    kp_bpf_calls_destroy(calls);
}

/* ---- windows ---- */

static int check_owner(const struct kp_bpf_calls *calls)
{
    if (calls->owner == getpid())
        return 0;
    return kp_fail(KP_E_FORKED, 0, "the trace belongs to the process that opened it");
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int kp_bpf_calls_enable(struct kp_bpf_calls *calls)
{
    int rc = check_owner(calls);
    if (rc != 0 || calls->links[KP_CALL_ON_ENTER] >= 0)
        return rc;
    /* Ends before beginnings: a beginning that is seen never lacks its end. */
    rc = attach(calls, KP_CALL_ON_EXIT);
    if (rc == 0)
        rc = attach(calls, KP_CALL_ON_ENTER);
    if (rc != 0) {
        detach(calls, KP_CALL_ON_EXIT);
        return rc;
    }
    calls->since = now();
    __atomic_store_n(&calls->control->since, calls->since, __ATOMIC_RELEASE);
    return 0;
}

int kp_bpf_calls_disable(struct kp_bpf_calls *calls)
{
    int rc = check_owner(calls);
    if (rc != 0 || calls->links[KP_CALL_ON_ENTER] < 0)
        return rc;
    __atomic_store_n(&calls->control->since, NO_WINDOW, __ATOMIC_RELEASE);
    detach(calls, KP_CALL_ON_ENTER);
    detach(calls, KP_CALL_ON_EXIT);
    calls->unread_end = 1;
    return 0;
}

/* ---- reading ---- */

/* A row in the making, and a bucket of one. */
struct found {
    uint32_t id;
    uint32_t number;
    uint32_t bits;
    struct kp_call_counts counts;
    char comm[16];
};

struct found_bucket {
    uint32_t id;
    uint32_t number;
    uint32_t bits;
    uint32_t bucket;
    uint64_t count;
};

struct reading {
    struct kp_bpf_calls *calls;
    uint32_t bank;
    struct found *rows;
    size_t n_rows, rows_room;
    struct found_bucket *buckets;
    size_t n_buckets, buckets_room;
    struct kp_call_place *keys; /* to remove */
    size_t n_keys, keys_room;
};

static int make_room(void **items, size_t len, size_t *room, size_t width)
{
    if (len < *room)
        return 0;
    size_t more = *room ? *room * 2 : 256;
    void *grown = realloc(*items, more * width);
    if (grown == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the system calls of a window");
    *items = grown;
    *room = more;
    return 0;
}

static int add_row(struct reading *reading, const struct found *row)
{
    int rc = make_room((void **)&reading->rows, reading->n_rows, &reading->rows_room, sizeof(*row));
    if (rc == 0)
        reading->rows[reading->n_rows++] = *row;
    return rc;
}

static int add_bucket(struct reading *reading, const struct found_bucket *bucket)
{
    int rc = make_room((void **)&reading->buckets, reading->n_buckets, &reading->buckets_room,
                       sizeof(*bucket));
    if (rc == 0)
        reading->buckets[reading->n_buckets++] = *bucket;
    return rc;
}

static int add_key(struct reading *reading, const struct kp_call_place *key)
{
    int rc = make_room((void **)&reading->keys, reading->n_keys, &reading->keys_room, sizeof(*key));
    if (rc == 0)
        reading->keys[reading->n_keys++] = *key;
    return rc;
}

static void add_counts(struct kp_call_counts *sum, const struct kp_call_counts *more)
{
    sum->count += more->count;
    sum->errors += more->errors;
    sum->unfinished += more->unfinished;
    sum->begun_before += more->begun_before;
    sum->total_ns += more->total_ns;
    if (more->max_ns > sum->max_ns)
        sum->max_ns = more->max_ns;
}

static int any(const struct kp_call_counts *counts)
{
    return (counts->count | counts->unfinished | counts->begun_before) != 0;
}

/* What the CPUs still hold of the common histograms. */
static void gather(const struct reading *reading)
{
    const struct kp_call_plan *plan = &reading->calls->plan;
    uint64_t buckets = (uint64_t)plan->n_slots * KP_CALL_BUCKETS;
    size_t n = (size_t)plan->n_cpus << KP_CALL_GATHER_BITS;
    struct kp_call_gathered *item = reading->calls->gathered + reading->bank * n;
    uint64_t *histograms = reading->calls->histograms + reading->bank * buckets;
    for (size_t i = 0; i < n; i++)
        if (item[i].count != 0) {
            if (item[i].key < buckets)
                histograms[item[i].key] += item[i].count;
            item[i].count = 0;
        }
}

static int read_dense_buckets(struct reading *reading, uint32_t slot)
{
    const struct kp_bpf_calls *calls = reading->calls;
    uint64_t *histogram =
        calls->histograms + ((size_t)reading->bank * calls->plan.n_slots + slot) * KP_CALL_BUCKETS;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < KP_CALL_BUCKETS; i++) {
        if (histogram[i] == 0)
            continue;
        rc = add_bucket(reading, &(struct found_bucket){.number = calls->slots[slot].number,
                                                        .bits = calls->slots[slot].bits,
                                                        .bucket = i,
                                                        .count = histogram[i]});
        histogram[i] = 0;
    }
    return rc;
}

static int read_dense(struct reading *reading)
{
    const struct kp_bpf_calls *calls = reading->calls;
    const struct kp_call_plan *plan = &calls->plan;
    int rc = 0;
    if (plan->key != KP_CALLS_TOGETHER)
        return 0;
    gather(reading);
    for (uint32_t slot = 0; rc == 0 && slot < plan->n_slots; slot++) {
        struct found row = {.number = calls->slots[slot].number, .bits = calls->slots[slot].bits};
        for (uint32_t cpu = 0; cpu < plan->n_cpus; cpu++) {
            size_t place = (size_t)reading->bank * plan->n_cpus + cpu;
            struct kp_call_counts *counts = &calls->rows[place * plan->n_slots + slot];
            if (!any(counts))
                continue;
            add_counts(&row.counts, counts);
            memset(counts, 0, sizeof(*counts));
        }
        if (any(&row.counts))
            rc = add_row(reading, &row);
        if (rc == 0 && row.counts.count > 0)
            rc = read_dense_buckets(reading, slot);
    }
    return rc;
}

static int take_keyed(void *context, const void *key_bytes, const void *value)
{
    struct reading *reading = context;
    struct kp_call_place key;
    struct kp_call_keyed keyed;
    memcpy(&key, key_bytes, sizeof(key));
    memcpy(&keyed, value, sizeof(keyed));
    if (key.bank != reading->bank)
        return 0;
    struct found row = {
        .id = key.id, .number = key.number, .bits = key.bits, .counts = keyed.counts};
    memcpy(row.comm, keyed.comm, sizeof(row.comm));
    int rc = add_row(reading, &row);
    return rc == 0 ? add_key(reading, &key) : rc;
}

static int take_bucket(void *context, const void *key_bytes, const void *value)
{
    struct reading *reading = context;
    struct kp_call_place key;
    uint64_t count;
    memcpy(&key, key_bytes, sizeof(key));
    memcpy(&count, value, sizeof(count));
    if (key.bank != reading->bank)
        return 0;
    int rc = add_bucket(reading, &(struct found_bucket){.id = key.id,
                                                        .number = key.number,
                                                        .bits = key.bits,
                                                        .bucket = key.cpu,
                                                        .count = count});
    return rc == 0 ? add_key(reading, &key) : rc;
}

static int read_map(struct reading *reading, const struct kp_bpf_map *map,
                    int (*take)(void *context, const void *key, const void *value))
{
    reading->n_keys = 0;
    int rc = kp_bpf_map_each(map, take, reading);
    for (size_t i = 0; i < reading->n_keys; i++)
        kp_bpf_map_remove(map, &reading->keys[i]);
    return rc;
}

/* A call that has not returned. */
static int take_thread(void *context, const void *key, const void *value)
{
    struct reading *reading = context;
    const struct kp_call_plan *plan = &reading->calls->plan;
    struct kp_call_thread thread;
    (void)key;
    memcpy(&thread, value, sizeof(thread));
    if (thread.start == 0 || thread.start < reading->calls->since)
        return 0;
    struct found row = {.number = thread.number, .bits = thread.bits};
    if (plan->key != KP_CALLS_TOGETHER)
        row.id = (uint32_t)(plan->key == KP_CALLS_BY_THREAD ? thread.tid : thread.pid);
    row.counts = (struct kp_call_counts){.unfinished = 1, .pid = thread.pid, .tid = thread.tid};
    return add_row(reading, &row);
}

static int read_unfinished(struct reading *reading)
{
    struct kp_bpf_calls *calls = reading->calls;
    if (calls->links[KP_CALL_ON_ENTER] < 0 && !calls->unread_end)
        return 0;
    calls->unread_end = 0;
    return kp_bpf_map_each(&calls->maps[THREADS], take_thread, reading);
}

/* ---- the summary ---- */

#define COMPARE(left, right, member)                          \
    do {                                                      \
        if ((left)->member != (right)->member)                \
            return (left)->member < (right)->member ? -1 : 1; \
    } while (0)

static int by_row(const void *left_item, const void *right_item)
{
    const struct found *left = left_item, *right = right_item;
    COMPARE(left, right, id);
    COMPARE(left, right, bits);
    COMPARE(left, right, number);
    return 0;
}

static int by_bucket(const void *left_item, const void *right_item)
{
    const struct found_bucket *left = left_item, *right = right_item;
    COMPARE(left, right, id);
    COMPARE(left, right, bits);
    COMPARE(left, right, number);
    COMPARE(left, right, bucket);
    return 0;
}

static void sort(void *items, size_t n, size_t width, int (*compare)(const void *, const void *))
{
    if (n > 0) /* no items may have no address */
        qsort(items, n, width, compare);
}

/* Rows of one call that several CPUs counted, and its unfinished ones, become one. */
static void merge_rows(struct reading *reading)
{
    size_t kept = 0;
    sort(reading->rows, reading->n_rows, sizeof(*reading->rows), by_row);
    for (size_t i = 0; i < reading->n_rows; i++) {
        if (kept > 0 && by_row(&reading->rows[kept - 1], &reading->rows[i]) == 0)
            add_counts(&reading->rows[kept - 1].counts, &reading->rows[i].counts);
        else
            reading->rows[kept++] = reading->rows[i];
    }
    reading->n_rows = kept;
}

static int row_of_bucket(const struct found *row, const struct found_bucket *bucket)
{
    COMPARE(row, bucket, id);
    COMPARE(row, bucket, bits);
    COMPARE(row, bucket, number);
    return 0;
}

static void fill_row(const struct reading *reading, const struct found *found,
                     struct kp_call_row *row)
{
    const struct kp_call_counts *counts = &found->counts;
    uint32_t by = reading->calls->plan.key;
    *row = (struct kp_call_row){.count = counts->count,
                                .errors = counts->errors,
                                .unfinished = counts->unfinished,
                                .begun_before = counts->begun_before,
                                .total_ns = counts->total_ns,
                                .max_ns = counts->max_ns,
                                .number = found->number,
                                .bits = found->bits,
                                .pid = by == KP_CALLS_TOGETHER ? -1 : counts->pid,
                                .tid = by == KP_CALLS_BY_THREAD ? counts->tid : -1};
    memcpy(row->comm, found->comm, sizeof(row->comm));
}

/* Names as they are now, where the process or thread still lives. */
static void name_row(struct kp_call_row *row, const struct kp_call_row *before)
{
    int32_t id = row->tid >= 0 ? row->tid : row->pid;
    if (id <= 0)
        return;
    if (before != NULL && before->pid == row->pid && before->tid == row->tid)
        memcpy(row->comm, before->comm, sizeof(row->comm));
    else
        kp_task_comm(id, row->comm);
}

static void fill(const struct reading *reading, struct kp_call_summary *summary)
{
    size_t at = 0;
    for (size_t i = 0; i < reading->n_rows; i++) {
        struct kp_call_row *row = &summary->rows[i];
        fill_row(reading, &reading->rows[i], row);
        name_row(row, i > 0 ? row - 1 : NULL);
        while (at < reading->n_buckets &&
               row_of_bucket(&reading->rows[i], &reading->buckets[at]) > 0)
            at++;
        row->first_bucket = summary->n_buckets;
        for (; at < reading->n_buckets &&
               row_of_bucket(&reading->rows[i], &reading->buckets[at]) == 0;
             at++) {
            summary->buckets[summary->n_buckets++] = (struct kp_call_bucket){
                .count = reading->buckets[at].count, .bucket = reading->buckets[at].bucket};
            row->n_buckets++;
        }
    }
    summary->n_rows = reading->n_rows;
}

static void fill_loss(struct kp_bpf_calls *calls, struct kp_call_loss *loss)
{
    const struct kp_call_control *control = calls->control;
    uint64_t dropped = control->lost_calls;
    uint64_t lost = control->lost_threads + control->lost_rows + control->lost_buckets;
    for (int i = 0; i < KP_CALL_PROGRAMS; i++)
        lost += kp_bpf_missed(calls->programs[i]);
    loss->lost = lost - calls->seen_lost;
    loss->dropped = dropped - calls->seen_dropped;
    calls->seen_lost = lost;
    calls->seen_dropped = dropped;
}

static int summarize(struct reading *reading, struct kp_call_summary **out)
{
    merge_rows(reading);
    sort(reading->buckets, reading->n_buckets, sizeof(*reading->buckets), by_bucket);
    struct kp_call_summary *summary = calloc(1, sizeof(*summary));
    if (summary != NULL) {
        summary->rows = calloc(reading->n_rows + 1, sizeof(*summary->rows));
        summary->buckets = calloc(reading->n_buckets + 1, sizeof(*summary->buckets));
    }
    if (summary == NULL || summary->rows == NULL || summary->buckets == NULL) {
        kp_call_summary_destroy(summary);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the system calls of a window");
    }
    fill(reading, summary);
    fill_loss(reading->calls, &summary->loss);
    *out = summary;
    return 0;
}

int kp_bpf_calls_read(struct kp_bpf_calls *calls, struct kp_call_summary **out)
{
    int rc = check_owner(calls);
    if (rc != 0)
        return rc;
    struct reading reading = {.calls = calls, .bank = (uint32_t)calls->control->bank};
    __atomic_store_n(&calls->control->bank, reading.bank ^ 1, __ATOMIC_RELEASE);
    rc = kp_bpf_barrier_wait(&calls->barrier);
    if (rc == 0)
        rc = read_dense(&reading);
    if (rc == 0)
        rc = read_map(&reading, &calls->maps[KEYED], take_keyed);
    if (rc == 0)
        rc = read_map(&reading, &calls->maps[BUCKETS], take_bucket);
    if (rc == 0)
        rc = read_unfinished(&reading);
    if (rc == 0)
        rc = summarize(&reading, out);
    free(reading.rows);
    free(reading.buckets);
    free(reading.keys);
    return rc;
}
