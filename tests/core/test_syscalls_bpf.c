/* SPDX-License-Identifier: Apache-2.0
 * System calls added up in the kernel: judged by programs that know what they call. */
#include "bpf.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Calls that nothing makes but these tests. */
enum { COUNTED = SYS_getpgid, FAILING = SYS_getsid };

static const uint32_t both[] = {COUNTED, FAILING};

static void need_bpf(void)
{
    if (kp_bpf_probe() != 0)
        skip(kp_last_error()->message);
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
        skip("this kernel does not describe its types");
}

static void call(long number, int times)
{
    for (int i = 0; i < times; i++)
        syscall(number, number == FAILING ? -1 : 0);
}

/* ---- the program that is traced ---- */

struct child {
    pid_t pid;
    int go;   /* a byte here lets it take its next step */
    int done; /* one comes back */
    void (*body)(struct child *);
    int argument;
};

/* In the child: waits for the next step, and tells that it was taken. */
static void step(struct child *child)
{
    char byte;
    if (read(child->go, &byte, 1) != 1)
        _exit(0);
}

static void tell(struct child *child)
{
    char byte = 0;
    CHECK_EQ(write(child->done, &byte, 1), 1);
}

static struct child spawn(void (*body)(struct child *), int argument)
{
    int go[2], done[2];
    struct child child = {.body = body, .argument = argument};
    CHECK_EQ(pipe2(go, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(done, O_CLOEXEC), 0);
    fflush(NULL);
    child.pid = fork();
    CHECK(child.pid >= 0);
    if (child.pid == 0) {
        close(go[1]);
        close(done[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child.go = go[0];
        child.done = done[1];
        step(&child);
        body(&child);
        _exit(0);
    }
    close(go[0]);
    close(done[1]);
    child.go = go[1];
    child.done = done[0];
    return child;
}

static void let(struct child *child)
{
    char byte = 0;
    CHECK_EQ(write(child->go, &byte, 1), 1);
}

static void await(struct child *child)
{
    char byte;
    CHECK_EQ(read(child->done, &byte, 1), 1);
}

static void finish(struct child *child)
{
    close(child->go);
    close(child->done);
    int status;
    CHECK_EQ(waitpid(child->pid, &status, 0), child->pid);
}

static void await_sleep(pid_t pid)
{
    char path[40], text[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    do {
        FILE *file = fopen(path, "re");
        CHECK(file != NULL);
        size_t n = fread(text, 1, sizeof(text) - 1, file);
        text[n] = '\0';
        fclose(file);
    } while (strstr(text, ") S ") == NULL);
}

/* ---- tracing it ---- */

static struct kp_call_options options_of(const uint32_t *numbers, uint32_t n, uint32_t key)
{
    return (struct kp_call_options){.numbers = numbers,
                                    .n_numbers = n,
                                    .restart = SYS_restart_syscall,
                                    .sigreturn = SYS_rt_sigreturn,
                                    .key = key};
}

static struct kp_bpf_calls *open_with(const struct kp_call_options *options, const int32_t *pid,
                                      uint32_t flags)
{
    struct kp_target target = pid == NULL ? everybody() : process(pid);
    struct kp_bpf_calls *calls;
    CHECK_OK(kp_bpf_calls_create(options, &target, NULL, 0, flags, &calls));
    CHECK_OK(kp_bpf_calls_enable(calls));
    return calls;
}

static struct kp_bpf_calls *open_on(const struct child *child, const uint32_t *numbers, uint32_t n)
{
    struct kp_call_options options = options_of(numbers, n, KP_CALLS_TOGETHER);
    return open_with(&options, &child->pid, KP_INHERIT);
}

static struct kp_call_summary *read_calls(struct kp_bpf_calls *calls)
{
    struct kp_call_summary *summary;
    CHECK_OK(kp_bpf_calls_read(calls, &summary));
    for (size_t i = 0; i < summary->n_rows; i++) {
        const struct kp_call_row *row = &summary->rows[i];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < row->n_buckets; k++)
            sum += summary->buckets[row->first_bucket + k].count;
        CHECK_EQ(sum, row->count);
        CHECK(row->max_ns <= row->total_ns);
    }
    return summary;
}

static const struct kp_call_row *row_of(const struct kp_call_summary *summary, uint32_t number)
{
    static const struct kp_call_row none;
    for (size_t i = 0; i < summary->n_rows; i++)
        if (summary->rows[i].number == number && summary->rows[i].bits == 64)
            return &summary->rows[i];
    return &none;
}

static void check_nothing_lost(const struct kp_call_summary *summary)
{
    CHECK_EQ(summary->loss.lost, 0);
    CHECK_EQ(summary->loss.dropped, 0);
}

/* ---- exact counts ---- */

enum { THREADS = 4, CHILDREN = 3 };

static void *call_both(void *times)
{
    call(COUNTED, *(int *)times);
    call(FAILING, *(int *)times / 10);
    return NULL;
}

static void with_threads(int times)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, call_both, &times), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Threads, children with threads, and a grandchild that outlives its parent. */
static void family(struct child *child)
{
    with_threads(child->argument);
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0) {
            with_threads(child->argument);
            if (fork() == 0) {
                call_both(&child->argument);
                tell(child);
            }
            _exit(0);
        }
    for (int i = 0; i < CHILDREN; i++)
        wait(NULL);
    call_both(&child->argument);
}

static int family_calls(int times)
{
    return times * (THREADS + CHILDREN * (THREADS + 1) + 1);
}

static void check_family(uint32_t key)
{
    need_bpf();
    int times = repeat(2000) / 10 * 10 + 10;
    struct child child = spawn(family, times);
    struct kp_call_options options = options_of(both, 2, key);
    struct kp_bpf_calls *calls = open_with(&options, &child.pid, KP_INHERIT);
    let(&child);
    for (int i = 0; i < CHILDREN; i++)
        await(&child);
    finish(&child);
    CHECK_OK(kp_bpf_calls_disable(calls));
    struct kp_call_summary *summary = read_calls(calls);
    uint64_t counted = 0, failed = 0, errors = 0, unfinished = 0;
    for (size_t i = 0; i < summary->n_rows; i++) {
        const struct kp_call_row *row = &summary->rows[i];
        counted += row->number == COUNTED ? row->count : 0;
        failed += row->number == FAILING ? row->count : 0;
        errors += row->errors;
        unfinished += row->unfinished + row->begun_before;
        CHECK_EQ(row->pid >= 0, key != KP_CALLS_TOGETHER);
        CHECK_EQ(row->tid >= 0, key == KP_CALLS_BY_THREAD);
    }
    CHECK_EQ(counted, family_calls(times));
    CHECK_EQ(failed, family_calls(times / 10));
    CHECK_EQ(errors, failed);
    CHECK_EQ(unfinished, 0);
    if (key == KP_CALLS_BY_PROCESS)
        CHECK_EQ(summary->n_rows, 2 * (1 + 2 * CHILDREN));
    if (key == KP_CALLS_TOGETHER)
        CHECK_EQ(summary->n_rows, 2);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

TEST(bpf_calls_of_a_family)
{
    check_family(KP_CALLS_TOGETHER);
}

TEST(bpf_calls_by_process)
{
    check_family(KP_CALLS_BY_PROCESS);
}

TEST(bpf_calls_by_thread)
{
    check_family(KP_CALLS_BY_THREAD);
}

static void two_threads_later(struct child *child)
{
    call_both(&child->argument);
    with_threads(child->argument);
    if (fork() == 0) {
        call_both(&child->argument);
        _exit(0);
    }
    wait(NULL);
}

TEST(bpf_calls_without_heirs)
{
    need_bpf();
    struct child child = spawn(two_threads_later, 100);
    struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
    struct kp_bpf_calls *calls = open_with(&options, &child.pid, 0);
    let(&child);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(row_of(summary, COUNTED)->count, 100);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

/* Every call, also numbers that there are not. */
static void unknown_numbers(struct child *child)
{
    call(COUNTED, 7);
    for (int i = 0; i < child->argument; i++)
        syscall(5000 + i);
    syscall(-1);
}

TEST(bpf_calls_all)
{
    need_bpf();
    struct child child = spawn(unknown_numbers, 3);
    struct kp_bpf_calls *calls = open_on(&child, NULL, 0);
    let(&child);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(row_of(summary, COUNTED)->count, 7);
    CHECK_EQ(row_of(summary, SYS_exit_group)->unfinished, 1);
    CHECK_EQ(row_of(summary, SYS_read)->begun_before, 1);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(row_of(summary, 5000 + i)->count, 1);
        CHECK_EQ(row_of(summary, 5000 + i)->errors, 1);
    }
    CHECK_EQ(row_of(summary, 5003)->count, 0);
    CHECK_EQ(row_of(summary, UINT32_MAX)->count, 1);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

/* More rows than the maps hold: what has no room is counted. */
TEST(bpf_calls_without_room)
{
    need_bpf();
    const int numbers = 20000;
    struct child child = spawn(unknown_numbers, numbers);
    struct kp_bpf_calls *calls = open_on(&child, NULL, 0);
    let(&child);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    uint64_t counted = 0;
    for (size_t i = 0; i < summary->n_rows; i++)
        if (summary->rows[i].number >= 5000 && summary->rows[i].number != UINT32_MAX)
            counted += summary->rows[i].count;
    CHECK(summary->loss.lost > 0);
    CHECK(counted > 0 && counted < (uint64_t)numbers);
    CHECK(counted + summary->loss.lost >= (uint64_t)numbers);
    CHECK_EQ(row_of(summary, COUNTED)->count, 7);
    kp_call_summary_destroy(summary);
    summary = read_calls(calls); /* it was told once */
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

static void with_threads_once(struct child *child)
{
    (void)child;
    with_threads(500);
}

TEST(bpf_calls_of_everybody)
{
    need_bpf();
    need_privilege();
    struct kp_call_options options = options_of(both, 2, KP_CALLS_BY_THREAD);
    struct child child = spawn(with_threads_once, 0);
    struct kp_bpf_calls *calls = open_with(&options, NULL, 0);
    let(&child);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    uint64_t counted = 0;
    for (size_t i = 0; i < summary->n_rows; i++)
        if (summary->rows[i].pid == child.pid && summary->rows[i].number == COUNTED)
            counted += summary->rows[i].count;
    CHECK_EQ(counted, THREADS * 500);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

/* ---- windows ---- */

static void steps(struct child *child)
{
    for (;;) {
        call(COUNTED, 10);
        tell(child);
        step(child);
    }
}

TEST(bpf_calls_by_window)
{
    need_bpf();
    struct child child = spawn(steps, 0);
    struct kp_bpf_calls *calls = open_on(&child, both, 2);
    struct kp_call_summary *summary;
    for (int i = 0; i < 5; i++) {
        let(&child);
        await(&child);
        summary = read_calls(calls);
        CHECK_EQ(row_of(summary, COUNTED)->count, 10);
        kp_call_summary_destroy(summary);
    }
    CHECK_OK(kp_bpf_calls_disable(calls));
    let(&child);
    await(&child);
    summary = read_calls(calls);
    CHECK_EQ(summary->n_rows, 0);
    kp_call_summary_destroy(summary);
    CHECK_OK(kp_bpf_calls_enable(calls));
    CHECK_OK(kp_bpf_calls_enable(calls));
    let(&child);
    await(&child);
    CHECK_OK(kp_bpf_calls_disable(calls));
    CHECK_OK(kp_bpf_calls_disable(calls));
    summary = read_calls(calls);
    CHECK_EQ(row_of(summary, COUNTED)->count, 10);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    finish(&child);
    kp_bpf_calls_destroy(calls);
}

static void at_full_speed(struct child *child)
{
    with_threads(child->argument);
}

/* Reads in the middle of things: every call is in one window, with its time. */
TEST(bpf_calls_read_at_full_speed)
{
    need_bpf();
    int times = repeat(100000) / 10 * 10 + 10;
    struct child child = spawn(at_full_speed, times);
    struct kp_bpf_calls *calls = open_on(&child, both, 2);
    uint64_t counted = 0, windows = 0;
    let(&child);
    for (int ended = 0; !ended;) {
        ended = waitpid(child.pid, NULL, WNOHANG) == child.pid;
        struct kp_call_summary *summary = read_calls(calls);
        counted += row_of(summary, COUNTED)->count;
        windows += row_of(summary, COUNTED)->count > 0;
        check_nothing_lost(summary);
        kp_call_summary_destroy(summary);
    }
    CHECK_EQ(counted, (uint64_t)times * THREADS);
    CHECK(windows > 0);
    close(child.go);
    close(child.done);
    kp_bpf_calls_destroy(calls);
}

static void blocked_twice(struct child *child)
{
    tell(child);
    step(child); /* begins before the window */
    tell(child);
    step(child); /* does not end in it */
}

TEST(bpf_calls_over_the_edges)
{
    need_bpf();
    static const uint32_t numbers[] = {SYS_read};
    struct child child = spawn(blocked_twice, 0);
    let(&child);
    await(&child);
    await_sleep(child.pid);
    struct kp_bpf_calls *calls = open_on(&child, numbers, 1);
    let(&child);
    await(&child);
    await_sleep(child.pid);
    for (int i = 0; i < 2; i++) { /* it is unfinished at each read */
        struct kp_call_summary *summary = read_calls(calls);
        CHECK_EQ(row_of(summary, SYS_read)->begun_before, i == 0);
        CHECK_EQ(row_of(summary, SYS_read)->unfinished, 1);
        CHECK_EQ(row_of(summary, SYS_read)->count, 0);
        kp_call_summary_destroy(summary);
    }
    kill(child.pid, SIGKILL); /* and not the end of the pipe */
    CHECK_EQ(waitid(P_PID, (id_t)child.pid, NULL, WEXITED | WNOWAIT), 0);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(row_of(summary, SYS_read)->unfinished, 0); /* the signal made it return */
    CHECK_EQ(row_of(summary, SYS_read)->errors, 1);
    kp_call_summary_destroy(summary);
    summary = read_calls(calls);
    CHECK_EQ(summary->n_rows, 0);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

/* ---- calls that do not simply return ---- */

enum { NAP_MS = 300 };

static void nap(struct child *child)
{
    struct timespec time = {.tv_nsec = NAP_MS * 1000000};
    tell(child);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

TEST(bpf_calls_stopped_and_continued)
{
    need_bpf();
    static const uint32_t numbers[] = {SYS_clock_nanosleep, SYS_restart_syscall};
    struct child child = spawn(nap, 0);
    struct kp_bpf_calls *calls = open_on(&child, numbers, 2);
    let(&child);
    await(&child);
    await_sleep(child.pid);
    kill(child.pid, SIGSTOP);
    int status;
    CHECK_EQ(waitpid(child.pid, &status, WUNTRACED), child.pid);
    kill(child.pid, SIGCONT);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(summary->n_rows, 1);
    CHECK_EQ(row_of(summary, SYS_clock_nanosleep)->count, 1);
    CHECK_EQ(row_of(summary, SYS_clock_nanosleep)->errors, 0);
    CHECK(row_of(summary, SYS_clock_nanosleep)->total_ns >= NAP_MS * 1000000u);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

static void handle(int signal)
{
    (void)signal;
    call(COUNTED, 1);
}

static void nap_with_handler(struct child *child)
{
    struct timespec time = {.tv_sec = 100};
    signal(SIGUSR1, handle);
    tell(child);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
    call(COUNTED, 1);
}

TEST(bpf_calls_interrupted)
{
    need_bpf();
    static const uint32_t numbers[] = {SYS_clock_nanosleep, SYS_rt_sigreturn, COUNTED};
    for (uint32_t n = 1; n <= 3; n++) { /* whether or not what comes next is seen */
        struct child child = spawn(nap_with_handler, 0);
        struct kp_bpf_calls *calls = open_on(&child, numbers, n);
        let(&child);
        await(&child);
        await_sleep(child.pid);
        kill(child.pid, SIGUSR1);
        finish(&child);
        struct kp_call_summary *summary = read_calls(calls);
        const struct kp_call_row *row = row_of(summary, SYS_clock_nanosleep);
        CHECK_EQ(row->count, 1);
        CHECK_EQ(row->errors, 1);
        CHECK(row->total_ns < 100u * 1000000000u);
        CHECK_EQ(row_of(summary, SYS_rt_sigreturn)->count, n >= 2);
        CHECK_EQ(row_of(summary, COUNTED)->count, n >= 3 ? 2 : 0);
        check_nothing_lost(summary);
        kp_call_summary_destroy(summary);
        kp_bpf_calls_destroy(calls);
    }
}

static void *exec_true(void *unused)
{
    (void)unused;
    execl("/bin/true", "true", NULL);
    return NULL;
}

#ifdef SYS_pause
enum { PAUSE = SYS_pause };
#else
enum { PAUSE = SYS_ppoll };
#endif

static void exec_by_a_thread(struct child *child)
{
    pthread_t thread;
    (void)child;
    pthread_create(&thread, NULL, exec_true, NULL);
    pause();
}

TEST(bpf_calls_exec_by_a_thread)
{
    need_bpf();
    static const uint32_t numbers[] = {SYS_execve, PAUSE, SYS_exit_group};
    struct child child = spawn(exec_by_a_thread, 0);
    struct kp_bpf_calls *calls = open_on(&child, numbers, 3);
    let(&child);
    finish(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(row_of(summary, SYS_execve)->count, 1);
    CHECK_EQ(row_of(summary, SYS_execve)->errors, 0);
    CHECK_EQ(row_of(summary, SYS_execve)->begun_before, 0);
    CHECK_EQ(row_of(summary, SYS_exit_group)->unfinished, 1);
    CHECK(row_of(summary, PAUSE)->unfinished <= 1); /* the leader, if it got there */
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

TEST(bpf_calls_of_a_held_command)
{
    need_bpf();
    char *const argv[] = {"true", NULL}, *const environment[] = {NULL};
    struct kp_child *child;
    int status;
    CHECK_OK(kp_child_create("/bin/true", argv, argv, environment, 1024, 1024, &child));
    int32_t pid = kp_child_pid(child);
    struct kp_call_options options = options_of(NULL, 0, KP_CALLS_TOGETHER);
    struct kp_bpf_calls *calls = open_with(&options, &pid, KP_INHERIT | KP_ENABLE_ON_EXEC);
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    struct kp_call_summary *summary = read_calls(calls);
    uint64_t before = 0, returned = 0;
    for (size_t i = 0; i < summary->n_rows; i++) {
        before += summary->rows[i].begun_before;
        returned += summary->rows[i].count;
    }
    CHECK_EQ(before, 1); /* the exec that began it */
    CHECK_EQ(row_of(summary, SYS_execve)->begun_before, 1);
    CHECK_EQ(row_of(summary, SYS_exit_group)->unfinished, 1);
    CHECK(returned > 0);
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
    kp_child_destroy(child);
}

#ifdef __x86_64__
/* The way of 32-bit programs, with their numbers. */
static void call_as_32_bits(struct child *child)
{
    enum { GETPPID_32 = 64 };
    for (int i = 0; i < child->argument; i++) {
        long result = GETPPID_32;
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
        CHECK(result > 0);
    }
    call(COUNTED, 3);
}

TEST(bpf_calls_of_32_bits)
{
    need_bpf();
    static const uint32_t of_32[] = {64};
    struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
    for (int all = 0; all < 2; all++) {
        options.numbers_32 = of_32;
        options.n_numbers_32 = all ? 0 : 1;
        options.n_numbers = all ? 0 : 2;
        struct child child = spawn(call_as_32_bits, 12);
        struct kp_bpf_calls *calls = open_with(&options, &child.pid, KP_INHERIT);
        let(&child);
        finish(&child);
        struct kp_call_summary *summary = read_calls(calls);
        uint64_t counted = 0, other = 0;
        for (size_t i = 0; i < summary->n_rows; i++)
            if (summary->rows[i].bits == 32 && summary->rows[i].number == 64)
                counted += summary->rows[i].count;
            else if (summary->rows[i].bits == 32)
                other++;
        if (counted == 0)
            skip("this kernel runs no 32-bit programs");
        CHECK_EQ(counted, 12);
        CHECK_EQ(other, 0);
        CHECK_EQ(row_of(summary, COUNTED)->count, 3);
        CHECK_EQ(row_of(summary, 64)->count, 0);
        kp_call_summary_destroy(summary);
        kp_bpf_calls_destroy(calls);
    }
}
#endif

/* ---- places ---- */

static void on_one_cpu(struct child *child)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)child->argument, &cpus);
    CHECK_EQ(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
    call(COUNTED, 50);
}

TEST(bpf_calls_on_some_cpus)
{
    need_bpf();
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    int32_t cpus[2], n = 0;
    for (int32_t cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
        if (CPU_ISSET((size_t)cpu, &allowed))
            cpus[n++] = cpu;
    for (int32_t i = 0; i < n; i++) {
        struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
        struct child child = spawn(on_one_cpu, cpus[0]);
        struct kp_target target = process(&child.pid);
        struct kp_bpf_calls *calls;
        CHECK_OK(kp_bpf_calls_create(&options, &target, &cpus[i], 1, KP_INHERIT, &calls));
        CHECK_OK(kp_bpf_calls_enable(calls));
        let(&child);
        finish(&child);
        struct kp_call_summary *summary = read_calls(calls);
        CHECK_EQ(row_of(summary, COUNTED)->count, i == 0 ? 50 : 0);
        kp_call_summary_destroy(summary);
        kp_bpf_calls_destroy(calls);
    }
}

/* The first process of a new pid namespace: its ids are not the kernel's. */
static void trace_in_namespace(void *unused)
{
    (void)unused;
    CHECK_EQ(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    CHECK_EQ(mount("proc", "/proc", "proc", 0, NULL), 0);
    CHECK_EQ(getpid(), 1);
    struct child child = spawn(family, 100);
    CHECK(child.pid < 10);
    struct kp_call_options options = options_of(both, 2, KP_CALLS_BY_PROCESS);
    struct kp_bpf_calls *calls = open_with(&options, &child.pid, KP_INHERIT);
    let(&child);
    for (int i = 0; i < CHILDREN; i++)
        await(&child);
    finish(&child);
    while (wait(NULL) > 0)
        ;
    struct kp_call_summary *summary = read_calls(calls);
    uint64_t counted = 0;
    CHECK_EQ(summary->n_rows, 2 * (1 + 2 * CHILDREN));
    for (size_t i = 0; i < summary->n_rows; i++) {
        counted += summary->rows[i].number == COUNTED ? summary->rows[i].count : 0;
        CHECK(summary->rows[i].pid >= child.pid && summary->rows[i].pid < 100);
    }
    CHECK_EQ(counted, family_calls(100));
    check_nothing_lost(summary);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
}

static void enter_namespace(void *unused)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        _exit(0);
    int status = in_child(trace_in_namespace, unused);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(bpf_calls_in_a_pid_namespace)
{
    need_bpf();
    need_privilege();
    int status = in_child(enter_namespace, NULL);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- refusals and ends ---- */

static void open_as_user(void *pid)
{
    struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
    struct kp_target target = process(pid);
    struct kp_bpf_calls *calls = NULL;
    CHECK_EQ(kp_bpf_calls_create(&options, &target, NULL, 0, 0, &calls), KP_E_PERMISSION);
    CHECK(strstr(kp_last_error()->message, "CAP_BPF") != NULL);
}

TEST(bpf_calls_refused)
{
    need_bpf();
    need_privilege();
    int32_t own = getpid(), nobody = 0x3fffffff, no_cpu = -1;
    int before = open_descriptors();
    uint32_t wrong = 1 << 20;
    struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
    struct kp_target target = process(&nobody), own_target = process(&own);
    struct kp_bpf_calls *calls = NULL;
    as_user(open_as_user, &own);
    CHECK_EQ(kp_bpf_calls_create(&options, &target, NULL, 0, 0, &calls), KP_E_NO_PROCESS);
    CHECK_EQ(kp_last_error()->tid, nobody);
    CHECK_EQ(kp_bpf_calls_create(&options, &own_target, &no_cpu, 1, 0, &calls), KP_E_CPU);
    options.numbers = &wrong;
    CHECK_EQ(kp_bpf_calls_create(&options, &own_target, NULL, 0, 0, &calls), KP_E_ARGUMENT);
    options = options_of(both, 2, KP_CALLS_TOGETHER);
    options.with_list = 1;
    CHECK_EQ(kp_bpf_calls_create(&options, &own_target, NULL, 0, 0, &calls), KP_E_ARGUMENT);
    struct kp_target thread = own_thread();
    options.with_list = 0;
    CHECK_EQ(kp_bpf_calls_create(&options, &thread, NULL, 0, 0, &calls), KP_E_ARGUMENT);
    CHECK(calls == NULL);
    CHECK_EQ(open_descriptors(), before);
}

static void use_in_fork(void *context)
{
    struct kp_bpf_calls *calls = context;
    struct kp_call_summary *summary;
    CHECK_EQ(kp_bpf_calls_enable(calls), KP_E_FORKED);
    CHECK_EQ(kp_bpf_calls_disable(calls), KP_E_FORKED);
    CHECK_EQ(kp_bpf_calls_read(calls, &summary), KP_E_FORKED);
    kp_bpf_calls_abandon(calls);
}

TEST(bpf_calls_in_a_forked_child)
{
    need_bpf();
    struct child child = spawn(steps, 0);
    int before = open_descriptors();
    struct kp_bpf_calls *calls = open_on(&child, both, 2);
    int status = in_child(use_in_fork, calls);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    let(&child);
    await(&child);
    struct kp_call_summary *summary = read_calls(calls);
    CHECK_EQ(row_of(summary, COUNTED)->count, 10);
    kp_call_summary_destroy(summary);
    kp_bpf_calls_destroy(calls);
    CHECK_EQ(open_descriptors(), before);
    finish(&child);
}

/* ---- a tracer that is killed ---- */

static void trace_until_killed(struct child *child)
{
    int32_t traced = child->argument;
    struct kp_call_options options = options_of(both, 2, KP_CALLS_TOGETHER);
    open_with(&options, &traced, KP_INHERIT);
    tell(child);
    pause();
}

enum { MOST_PROGRAMS = 64 };

/* The ids of the BPF programs that a process holds. */
static size_t programs_of(pid_t pid, uint32_t ids[MOST_PROGRAMS])
{
    char path[64], line[128];
    size_t n = 0;
    for (int fd = 0; fd < 4096; fd++) {
        snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof(line), file) != NULL)
            if (n < MOST_PROGRAMS && sscanf(line, "prog_id: %u", &ids[n]) == 1)
                n++;
        if (file != NULL)
            fclose(file);
    }
    return n;
}

static int program_exists(uint32_t id)
{
    enum { PROG_GET_FD_BY_ID = 13 };
    struct {
        uint32_t id;
        uint32_t rest[5];
    } attribute = {.id = id};
    int fd = (int)syscall(SYS_bpf, PROG_GET_FD_BY_ID, &attribute, sizeof(attribute));
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

TEST(bpf_calls_of_a_killed_tracer)
{
    need_bpf();
    need_privilege();
    struct child traced = spawn(steps, 0);
    struct child tracer = spawn(trace_until_killed, traced.pid);
    uint32_t ids[MOST_PROGRAMS];
    let(&tracer);
    await(&tracer);
    size_t n = programs_of(tracer.pid, ids);
    CHECK(n >= 5);
    CHECK(program_exists(ids[0]));
    kill(tracer.pid, SIGKILL);
    finish(&tracer);
    for (size_t i = 0; i < n; i++)
        while (program_exists(ids[i])) /* the kernel takes its time */
            usleep(1000);
    let(&traced);
    await(&traced);
    finish(&traced);
}
