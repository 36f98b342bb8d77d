/* SPDX-License-Identifier: Apache-2.0
 * A launched command: held before its exec, measured from there on, given back what is its own. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const environment[] = {"PATH=/usr/bin:/bin", "KEPT=yes", NULL};

enum { LIMIT = 1 << 30 };

static struct kp_child *hold(const char *path, char *const *argv, char *const *script_argv)
{
    struct kp_child *child;
    CHECK_OK(kp_child_create(path, argv, script_argv, environment, LIMIT, LIMIT, &child));
    CHECK(kp_child_pid(child) > 0);
    return child;
}

static struct kp_child *hold_shell(const char *script)
{
    char *const argv[] = {"sh", "-c", (char *)script, NULL};
    return hold("/bin/sh", argv, argv);
}

static int status_of(const struct kp_child *child)
{
    int status;
    CHECK_EQ(waitpid(kp_child_pid(child), &status, 0), kp_child_pid(child));
    return status;
}

static void check_no_children(void)
{
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

/* ---- from hold to exit ---- */

TEST(child_runs)
{
    int before = open_descriptors();
    struct kp_child *child = hold_shell("exit 7");
    CHECK_EQ(waitpid(kp_child_pid(child), NULL, WNOHANG), 0); /* held */
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(kp_child_release(child), KP_E_ARGUMENT);
    int status = status_of(child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
    kp_child_destroy(child);
    CHECK_EQ(open_descriptors(), before);
}

TEST(child_is_left_alone_once_released)
{
    struct kp_child *child = hold_shell("exit 3");
    CHECK_OK(kp_child_release(child));
    pid_t pid = kp_child_pid(child);
    kp_child_destroy(child);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
}

static void check_failure(const char *path, int code, int sys_errno)
{
    char *const argv[] = {"nothing", NULL};
    int before = open_descriptors();
    struct kp_child *child = hold(path, argv, argv);
    CHECK_EQ(kp_child_release(child), code);
    CHECK_EQ(kp_last_error()->code, code);
    CHECK_EQ(kp_last_error()->sys_errno, sys_errno);
    status_of(child);
    kp_child_destroy(child);
    check_no_children();
    CHECK_EQ(open_descriptors(), before);
}

TEST(child_of_no_file)
{
    check_failure("/nonexistent/command", KP_E_COMMAND_MISSING, ENOENT);
    check_failure("/dev/null/command", KP_E_COMMAND_MISSING, ENOTDIR);
}

/* A file of this text and mode; the caller unlinks it. */
static void make_file(char *path, const char *text, mode_t mode)
{
    strcpy(path, "/tmp/kperf-core-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    CHECK_EQ(fchmod(fd, mode), 0);
    close(fd);
}

TEST(child_of_a_file_that_may_not_run)
{
    char path[64];
    make_file(path, "#!/bin/sh\n", 0644);
    check_failure(path, KP_E_COMMAND_REFUSED, EACCES);
    unlink(path);
    check_failure("/", KP_E_COMMAND_REFUSED, EACCES);
}

TEST(child_of_a_script_whose_interpreter_is_missing)
{
    char path[64];
    make_file(path, "#!/nonexistent/interpreter\n", 0755);
    check_failure(path, KP_E_COMMAND_MISSING, ENOENT);
    unlink(path);
}

TEST(child_of_a_script_without_interpreter)
{
    char path[64];
    make_file(path, "test \"$1\" = one && test $KEPT = yes && exit 5\n", 0755);
    char *const argv[] = {path, "one", NULL};
    char *const script_argv[] = {"/bin/sh", path, "one", NULL};
    struct kp_child *child = hold(path, argv, script_argv);
    CHECK_OK(kp_child_release(child));
    int status = status_of(child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 5);
    kp_child_destroy(child);
    unlink(path);
}

/* ---- never released ---- */

TEST(child_destroyed_unreleased)
{
    int before = open_descriptors();
    /* The second is born with a copy of the first one's pipe, and must not keep it alive. */
    struct kp_child *first = hold_shell("exit 1"), *second = hold_shell("exit 1");
    kp_child_destroy(first);
    CHECK_EQ(waitpid(kp_child_pid(second), NULL, WNOHANG), 0);
    kp_child_destroy(second);
    check_no_children();
    CHECK_EQ(open_descriptors(), before);
    kp_child_destroy(NULL);
}

TEST(child_killed_while_held)
{
    int before = open_descriptors();
    struct kp_child *child = hold_shell("exit 1");
    kill(kp_child_pid(child), SIGKILL);
    int status = status_of(child);
    CHECK(WIFSIGNALED(status));
    CHECK_OK(kp_child_release(child)); /* nobody reads: no SIGPIPE for us */
    kp_child_destroy(child);
    CHECK_EQ(open_descriptors(), before);
}

static void hold_and_end(void *tell)
{
    struct kp_child *child = hold_shell("exit 1");
    int32_t pid = kp_child_pid(child);
    CHECK_EQ(write(*(int *)tell, &pid, sizeof(pid)), sizeof(pid));
}

TEST(child_of_a_program_that_ends)
{
    int tell[2], status;
    int32_t pid;
    CHECK_EQ(pipe2(tell, O_CLOEXEC), 0);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_EQ(in_child(hold_and_end, &tell[1]), 0);
    CHECK_EQ(read(tell[0], &pid, sizeof(pid)), sizeof(pid));
    CHECK_EQ(waitpid(pid, &status, 0), pid); /* it ends by itself, and never ran */
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 127);
    close(tell[0]);
    close(tell[1]);
}

static void use_forked(void *context)
{
    struct kp_child *child = context;
    CHECK_EQ(kp_child_release(child), KP_E_FORKED);
    kp_child_destroy(child);
}

TEST(child_in_a_forked_child)
{
    struct kp_child *child = hold_shell("exit 4");
    CHECK_EQ(in_child(use_forked, child), 0);
    CHECK_EQ(waitpid(kp_child_pid(child), NULL, WNOHANG), 0); /* alive */
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(WEXITSTATUS(status_of(child)), 4);
    kp_child_destroy(child);
}

/* ---- what it is born with ---- */

/* What a command prints on its standard output. */
static void output_of(const char *script, uint64_t soft, uint64_t hard, char *text, size_t room)
{
    int out[2], saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    char *const argv[] = {"sh", "-c", (char *)script, NULL};
    struct kp_child *child;
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    fflush(stdout);
    dup2(out[1], STDOUT_FILENO);
    CHECK_OK(kp_child_create("/bin/sh", argv, argv, environment, soft, hard, &child));
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(out[1]);
    CHECK_OK(kp_child_release(child));
    size_t n = 0;
    ssize_t got;
    while (n + 1 < room && (got = read(out[0], text + n, room - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(out[0]);
    CHECK_EQ(status_of(child), 0);
    kp_child_destroy(child);
}

static uint64_t signals(const char *status, const char *which)
{
    const char *line = strstr(status, which);
    CHECK(line != NULL);
    return strtoull(line + strlen(which), NULL, 16);
}

static uint64_t bit(int number)
{
    return 1ULL << (number - 1);
}

static void handle(int number)
{
    (void)number;
}

TEST(child_gets_signals_back)
{
    char text[4096];
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    CHECK_EQ(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    signal(SIGPIPE, SIG_IGN); /* as Python does */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* as nohup does: meant for the command */
    signal(SIGUSR1, handle);
    output_of("exec cat /proc/self/status", LIMIT, LIMIT, text, sizeof(text));
    CHECK_EQ(signals(text, "SigBlk:"), bit(SIGUSR2));
    uint64_t ignored = signals(text, "SigIgn:");
    CHECK_EQ(ignored & (bit(SIGPIPE) | bit(SIGXFSZ)), 0);
    CHECK(ignored & bit(SIGHUP));
    CHECK_EQ(signals(text, "SigCgt:") & bit(SIGUSR1), 0);
    sigset_t now;
    CHECK_EQ(sigprocmask(SIG_UNBLOCK, &blocked, &now), 0);
    CHECK(sigismember(&now, SIGUSR2) && !sigismember(&now, SIGTERM)); /* ours is as it was */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
}

TEST(child_gets_its_limits)
{
    char text[64];
    output_of("ulimit -Sn; ulimit -Hn", 77, 99, text, sizeof(text));
    CHECK_EQ(strcmp(text, "77\n99\n"), 0);
}

TEST(child_inherits_no_descriptor_of_ours)
{
    char text[256];
    struct kp_event event = software(KP_SW_DUMMY);
    struct kp_target target = own_thread();
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, &target, 0, &session));
    struct kp_child *other = hold_shell("exit 0");
    output_of("for fd in /proc/self/fd/*; do readlink $fd; done | grep -c perf_event; true", LIMIT,
              LIMIT, text, sizeof(text));
    CHECK_EQ(strcmp(text, "0\n"), 0);
    kp_child_destroy(other);
    kp_session_destroy(session);
}

/* ---- measured ---- */

static struct kp_session *count_from_exec(const struct kp_child *child, struct kp_event event,
                                          uint32_t flags)
{
    int32_t pid = kp_child_pid(child);
    struct kp_target target = process(&pid);
    struct kp_session *session;
    CHECK_OK(kp_session_create(&event, 1, &target, KP_ENABLE_ON_EXEC | flags, &session));
    return session;
}

TEST(child_is_counted_from_its_exec)
{
    struct kp_child *child = hold_shell("exit 0");
    struct kp_session *session = count_from_exec(child, user_software(SW_PAGE_FAULTS), KP_INHERIT);
    struct kp_attach_report report;
    struct kp_counts *counts;
    CHECK_OK(kp_session_attach_report(session, &report));
    CHECK(report.watched == 0 && report.missed == 0 && report.uncertain == 0 && report.lost == 0);
    CHECK_EQ(report.descriptors, 1);
    CHECK_OK(kp_session_read(session, &counts));
    CHECK_EQ(counts->len, 1);
    CHECK_EQ(counts->tid[0], kp_child_pid(child));
    CHECK_EQ(counts->state[0], KP_NOT_COUNTED);
    kp_counts_destroy(counts);
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(status_of(child), 0);
    CHECK_OK(kp_session_read(session, &counts));
    CHECK_EQ(counts->state[0], KP_COUNTED);
    CHECK(counts->count[0] > 10 && counts->enabled[0] > 0);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    kp_child_destroy(child);
}

/* dd writes once a block, the shell never. */
static uint64_t writes_of(const char *script, uint32_t flags)
{
    struct kp_child *child = hold_shell(script);
    struct kp_session *session =
        count_from_exec(child, tracepoint("syscalls/sys_enter_write"), flags);
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(status_of(child), 0);
    uint64_t writes = read_sum(session, 0);
    kp_session_destroy(session);
    kp_child_destroy(child);
    return writes;
}

TEST(child_and_its_children)
{
    static const char script[] = "dd if=/dev/zero of=/dev/null bs=1 count=300 status=none;"
                                 "(dd if=/dev/zero of=/dev/null bs=1 count=40 status=none; true);"
                                 "true";
    need_privilege();
    CHECK_EQ(writes_of(script, KP_INHERIT), 340);
    CHECK_EQ(writes_of(script, 0), 0);
}
