/* SPDX-License-Identifier: Apache-2.0
 * Whom to watch: a process's threads, and a launched command held before its exec. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2 */
#endif
#include "target.h"

#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- threads ---- */

int kp_tasks_add(struct kp_tasks *tasks, struct kp_task task)
{
    if (tasks->len == tasks->room) {
        size_t room = tasks->room ? tasks->room * 2 : 64;
        struct kp_task *items = realloc(tasks->items, room * sizeof(*items));
        if (items == NULL)
            return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of threads");
        tasks->items = items;
        tasks->room = room;
    }
    tasks->items[tasks->len++] = task;
    return 0;
}

int kp_tasks_add_process(struct kp_tasks *tasks, int32_t pid)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        int failure = errno; /* one that exists is missing only where /proc is */
        int gone = failure == ENOENT && kill(pid, 0) != 0 && errno == ESRCH;
        return kp_fail_at(gone ? KP_E_NO_PROCESS : KP_E_SYSTEM, failure, -1, -1, pid,
                          "cannot list the threads");
    }
    int rc = 0;
    int32_t process = kp_task_process(pid); /* any thread's number stands for its process */
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        int32_t tid = atoi(entry->d_name);
        if (tid > 0)
            rc = kp_tasks_add(tasks,
                              (struct kp_task){.pid = process > 0 ? process : pid, .tid = tid});
    }
    closedir(dir);
    return rc;
}

int kp_tasks_add_thread(struct kp_tasks *tasks, int32_t tid)
{
    int32_t pid = kp_task_process(tid);
    if (pid < 0)
        return kp_fail_at(KP_E_NO_PROCESS, ESRCH, -1, -1, tid, "cannot find the thread");
    return kp_tasks_add(tasks, (struct kp_task){.pid = pid, .tid = tid});
}

void kp_tasks_clear(struct kp_tasks *tasks)
{
    tasks->len = 0;
}

void kp_tasks_free(struct kp_tasks *tasks)
{
    free(tasks->items);
    memset(tasks, 0, sizeof(*tasks));
}

static ssize_t read_small(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, buffer, size - 1);
    close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

int32_t kp_task_process(int32_t tid)
{
    char path[40], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/status", tid);
    if (read_small(path, text, sizeof(text)) <= 0)
        return -1;
    const char *line = strstr(text, "\nTgid:");
    return line == NULL ? -1 : atoi(line + 6);
}

int kp_task_sleeps(int32_t tid)
{
    char path[40], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", tid);
    if (read_small(path, text, sizeof(text)) <= 0)
        return 0;
    const char *name_end = strrchr(text, ')'); /* the name before it may hold anything */
    return name_end != NULL && name_end[1] == ' ' && name_end[2] != '\0' &&
           strchr("STt", name_end[2]) != NULL;
}

int64_t kp_task_turns(int32_t tid)
{
    char path[40], text[96];
    long long turns;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
    if (read_small(path, text, sizeof(text)) <= 0 || sscanf(text, "%*u %*u %lld", &turns) != 1)
        return -1;
    return turns;
}

void kp_task_comm(int32_t tid, char *comm)
{
    char path[40], text[32];
    snprintf(path, sizeof(path), "/proc/%d/comm", tid);
    ssize_t n = read_small(path, text, sizeof(text));
    if (n <= 0)
        return;
    n -= text[n - 1] == '\n'; /* the file's own: a name may hold others */
    memset(comm, 0, 16);
    memcpy(comm, text, n < 15 ? (size_t)n : 15);
}

/* ---- a command, held between fork and exec ---- */

struct kp_child {
    pid_t pid;
    pid_t owner;
    int go;     /* a byte here lets it exec; end of file ends it */
    int report; /* an errno comes back where exec failed, end of file where it went well */
};

static void put_signals_back(const sigset_t *mask)
{
    struct sigaction action;
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            signal(number, SIG_DFL);
    }
    /* Python ignores these two for itself; a program like `yes | head` depends on them. */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* The life of the child from fork to exec: async-signal-safe calls only. */
static _Noreturn void wait_and_exec(const char *path, char *const *argv, char *const *script_argv,
                                    char *const *envp, int go, int report)
{
    char byte;
    ssize_t n;
    do {
        n = read(go, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(127);
    execve(path, argv, envp);
    if (errno == ENOEXEC)
        execve("/bin/sh", script_argv, envp);
    int failure = errno;
    n = write(report, &failure, sizeof(failure));
    _exit(n < 0 ? 126 : 127);
}

static void close_pair(const int *pair)
{
    close(pair[0]);
    close(pair[1]);
}

int kp_child_create(const char *path, char *const *argv, char *const *script_argv,
                    char *const *envp, uint64_t files_soft, uint64_t files_hard,
                    struct kp_child **out)
{
    int go[2], report[2];
    struct kp_child *child = calloc(1, sizeof(*child));
    if (child == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory");
    if (pipe2(go, O_CLOEXEC) != 0) {
        free(child);
        return kp_fail(KP_E_SYSTEM, errno, "cannot make a pipe to the command");
    }
    if (pipe2(report, O_CLOEXEC) != 0) {
        int failure = errno;
        close_pair(go);
        free(child);
        return kp_fail(KP_E_SYSTEM, failure, "cannot make a pipe to the command");
    }
    struct rlimit files = {.rlim_cur = files_soft, .rlim_max = files_hard};
    /* No handler of the host program may run in the child. */
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    pid_t pid = fork();
    int failure = errno;
    if (pid == 0) {
        close(go[1]);
        close(report[0]);
        /* A session raises the limit for itself; the command gets what it would have had. */
        setrlimit(RLIMIT_NOFILE, &files);
        put_signals_back(&mask);
        wait_and_exec(path, argv, script_argv, envp, go[0], report[1]);
    }
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    close(go[0]);
    close(report[1]);
    child->pid = pid;
    child->owner = getpid();
    child->go = go[1];
    child->report = report[0];
    if (pid < 0) {
        close(child->go);
        close(child->report);
        free(child);
        return kp_fail(KP_E_SYSTEM, failure, "cannot fork");
    }
    *out = child;
    return 0;
}

int32_t kp_child_pid(const struct kp_child *child)
{
    return child->pid;
}

static int exec_failure(int failure)
{
    int code =
        failure == ENOENT || failure == ENOTDIR ? KP_E_COMMAND_MISSING : KP_E_COMMAND_REFUSED;
    return kp_fail(code, failure, "cannot execute the command");
}

int kp_child_release(struct kp_child *child)
{
    if (child->owner != getpid())
        return kp_fail(KP_E_FORKED, 0, "the command belongs to the process that made it");
    if (child->go < 0)
        return kp_fail(KP_E_ARGUMENT, 0, "the command runs already");
    char byte = 1;
    /* The only reader may have been killed: then the write must fail, not the host program. */
    sigset_t pipe_signal, mask;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &mask);
    ssize_t written = write(child->go, &byte, 1);
    if (written < 0) {
        struct timespec now = {0, 0};
        sigtimedwait(&pipe_signal, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    close(child->go);
    child->go = -1;
    int failure;
    ssize_t n;
    do {
        n = read(child->report, &failure, sizeof(failure));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(failure) ? exec_failure(failure) : 0;
}

void kp_child_destroy(struct kp_child *child)
{
    if (child == NULL)
        return;
    if (child->go >= 0) {
        close(child->go);
        /* End of file would end it, were not other held children born with a copy of this pipe. */
        if (child->owner == getpid() && kill(child->pid, SIGKILL) == 0)
            waitpid(child->pid, NULL, 0);
    }
    close(child->report);
    free(child);
}
