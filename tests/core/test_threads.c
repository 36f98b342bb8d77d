/* SPDX-License-Identifier: Apache-2.0
 * Attaching to processes in odd states: many threads, a first thread that ended, an end in the
 * middle. */
#include "check.h"
#include "count.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile uint64_t word __attribute__((aligned(8)));

/* ---- threads that wait ---- */

static atomic_int waiting;
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER; /* held as long as they are to wait */

static void *wait_and_store(void *unused)
{
    (void)unused;
    atomic_fetch_add(&waiting, 1);
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    store(&word, 1);
    return NULL;
}

static void start_threads(pthread_t *threads, int n)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    pthread_rwlock_wrlock(&gate);
    atomic_store(&waiting, 0);
    for (int i = 0; i < n; i++)
        CHECK_EQ(pthread_create(&threads[i], &small, wait_and_store, NULL), 0);
    while (atomic_load(&waiting) < n)
        usleep(1000);
    pthread_attr_destroy(&small);
}

static void end_threads(pthread_t *threads, int n)
{
    pthread_rwlock_unlock(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static struct kp_attach_report report_of(const struct kp_session *session)
{
    struct kp_attach_report report;
    CHECK_OK(kp_session_attach_report(session, &report));
    CHECK(report.missed == 0 && report.uncertain == 0 && report.lost == 0);
    return report;
}

static struct kp_session *attach(const struct kp_target *target, uint32_t flags)
{
    struct kp_event event = stores_to(&word);
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, target, flags, &session));
    return session;
}

TEST(threads_by_the_thousand)
{
    enum { MANY = 3000 };
    static pthread_t threads[MANY];
    int n = repeat(MANY) < MANY ? repeat(MANY) : MANY, before = open_descriptors();
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    start_threads(threads, n);
    struct kp_session *session = attach(&target, KP_INHERIT);
    CHECK_EQ(report_of(session).descriptors, n + 1);
    CHECK_EQ(open_descriptors() - before, n + 1);
    CHECK_OK(kp_session_enable(session));
    end_threads(threads, n);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, n + 1);
    CHECK_EQ(sum_of(counts, 0), n);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    CHECK_EQ(open_descriptors(), before);
}

TEST(threads_given_twice)
{
    pthread_t threads[3];
    int32_t pids[] = {getpid(), getpid()}, tid = own_tid();
    struct kp_target target = {
        .pids = pids, .n_pids = 2, .tids = &tid, .n_tids = 1, .cgroup_fd = -1};
    start_threads(threads, 3);
    struct kp_session *session = attach(&target, KP_INHERIT);
    report_of(session);
    CHECK_OK(kp_session_enable(session));
    end_threads(threads, 3);
    store(&word, 10);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 4);
    CHECK_EQ(sum_of(counts, 0), 13);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

static void *attach_by_own_number(void *unused)
{
    int32_t tid = own_tid();
    struct kp_target target = process(&tid);
    struct kp_session *session = attach(&target, 0);
    struct kp_counts *counts = read_all(session);
    (void)unused;
    CHECK_EQ(counts->len, 2); /* all threads of its process */
    for (size_t i = 0; i < counts->len; i++)
        CHECK_EQ(counts->pid[i], getpid());
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    return NULL;
}

TEST(threads_by_any_number_of_their_process)
{
    pthread_t thread;
    CHECK(own_tid() == getpid());
    CHECK_EQ(pthread_create(&thread, NULL, attach_by_own_number, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* ---- other processes ---- */

static int tell_ready[2], hear_go[2];

static void *store_when_told(void *unused)
{
    char byte;
    (void)unused;
    atomic_fetch_add(&waiting, 1);
    CHECK_EQ(read(hear_go[0], &byte, 1), 1);
    store(&word, 5);
    CHECK_EQ(write(tell_ready[1], "d", 1), 1);
    pause();
    return NULL;
}

static void *end_after_the_first(void *first)
{
    CHECK_EQ(pthread_join(*(pthread_t *)first, NULL), 0);
    CHECK_EQ(write(tell_ready[1], "r", 1), 1);
    return store_when_told(NULL);
}

/* The child's first thread ends and leaves a zombie in /proc as long as the others live. */
static pid_t start_without_first_thread(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    pthread_t first = pthread_self(), thread;
    CHECK_EQ(pthread_create(&thread, NULL, store_when_told, NULL), 0);
    CHECK_EQ(pthread_create(&thread, NULL, end_after_the_first, &first), 0);
    while (atomic_load(&waiting) < 1)
        usleep(100);
    pthread_exit(NULL);
}

TEST(threads_whose_first_one_ended)
{
    char bytes[2];
    atomic_store(&waiting, 0);
    CHECK_EQ(pipe(tell_ready), 0);
    CHECK_EQ(pipe(hear_go), 0);
    int32_t pid = start_without_first_thread();
    struct kp_target target = process(&pid);
    CHECK_EQ(read(tell_ready[0], bytes, 1), 1);
    struct kp_session *session = attach(&target, KP_INHERIT);
    CHECK_EQ(report_of(session).watched, 0);
    CHECK_OK(kp_session_enable(session));
    CHECK_EQ(write(hear_go[1], "gg", 2), 2);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(read(tell_ready[0], bytes, 1), 1);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 2);
    CHECK_EQ(sum_of(counts, 0), 10);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < 2; i++) {
        close(tell_ready[i]);
        close(hear_go[i]);
    }
}

static void be_many(void *unused)
{
    pthread_t threads[20];
    (void)unused;
    start_threads(threads, 20);
    pause();
}

static void kill_after(pid_t pid, unsigned us)
{
    if (fork() == 0) {
        usleep(us);
        kill(pid, SIGKILL);
        _exit(0);
    }
}

/* Whenever its target is killed, an attach ends well: with a session, or told that it is gone. */
TEST(threads_that_end_in_the_middle)
{
    int before = open_descriptors();
    for (unsigned i = 0; i < 12; i++) {
        int32_t pid = fork();
        if (pid == 0) {
            be_many(NULL);
            _exit(0);
        }
        struct kp_target target = process(&pid);
        struct kp_event events[] = {software(KP_SW_DUMMY), stores_to(&word), software(KP_SW_DUMMY)};
        struct kp_session *session = NULL;
        usleep(1000);
        kill_after(pid, i * 300);
        int rc = kp_session_create(events, 3, &target, KP_INHERIT, &session);
        CHECK(rc == 0 || rc == KP_E_NO_PROCESS);
        for (int ended = 0; ended < 2; ended++)
            CHECK(wait(NULL) > 0);
        if (rc == 0) {
            CHECK_OK(kp_session_enable(session));
            kp_counts_destroy(read_all(session));
            CHECK_OK(kp_session_disable(session));
            kp_session_destroy(session);
        }
        CHECK_EQ(open_descriptors(), before);
    }
}

TEST(threads_of_an_ended_process)
{
    struct kp_event event = software(KP_SW_DUMMY);
    struct kp_session *session = NULL;
    int32_t pid = fork();
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    struct kp_target target = process(&pid);
    CHECK_EQ(kp_session_create(&event, 1, &target, KP_INHERIT, &session), KP_E_NO_PROCESS);
    CHECK_EQ(kp_last_error()->tid, pid);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    CHECK_EQ(kp_session_create(&event, 1, &target, KP_INHERIT, &session), KP_E_NO_PROCESS);
    CHECK_EQ(kp_last_error()->tid, pid);
    CHECK(session == NULL);
}

/* ---- a child that was born while a group was opened ---- */

static void *wait_behind_the_gate(void *unused)
{
    (void)unused;
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    return NULL;
}

/* Opens the member that was left out, after a child has inherited the group without it. */
static void open_left_out_member(struct kp_session *session)
{
    struct kp_attr attr = kp_dummy_attr();
    attr.flags |= KP_ATTR_INHERIT;
    attr.read_format = KP_FORMAT_ENABLED | KP_FORMAT_RUNNING | KP_FORMAT_GROUP;
    session->cells[1].fd = kp_perf_event_open(&attr, 0, -1, session->cells[0].fd, KP_OPEN_CLOEXEC);
    CHECK(session->cells[1].fd >= 0);
    session->cells[0].opened = 2;
}

TEST(threads_with_groups_of_another_shape)
{
    struct kp_event events[] = {user_software(SW_PAGE_FAULTS), {.type = 0x7fffff00}};
    struct kp_counts *counts = NULL;
    pthread_t child;
    /* With an event that is not inherited the kernel never swaps the contexts of the two. */
    struct kp_session *anchor = open_own(events, 1, 0);
    struct kp_session *session = open_own(events, 2, KP_INHERIT | KP_KEEP_UNSUPPORTED);
    CHECK_EQ(kp_task_readable(session, 0), 1);
    pthread_rwlock_wrlock(&gate);
    CHECK_EQ(pthread_create(&child, NULL, wait_behind_the_gate, NULL), 0);
    open_left_out_member(session);
    int readable = kp_task_readable(session, 0);
    if (!readable) { /* some kernels add up what does not fit together */
        CHECK_EQ(kp_session_read(session, &counts), KP_E_GROUP);
        CHECK_EQ(kp_last_error()->sys_errno, ECHILD);
        CHECK_EQ(kp_last_error()->tid, own_tid());
        CHECK(counts == NULL);
    }
    pthread_rwlock_unlock(&gate);
    CHECK_EQ(pthread_join(child, NULL), 0);
    while (!kp_task_readable(session, 0)) /* it is joined before it has ended */
        usleep(100);
    CHECK_OK(kp_session_read(session, &counts));
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    kp_session_destroy(anchor);
    if (readable)
        skip("this kernel does not tell that a group cannot be read");
}
