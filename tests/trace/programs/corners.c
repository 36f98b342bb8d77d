/* SPDX-License-Identifier: Apache-2.0
 * What is hard to pair: corners NAME.
 *   exec      another thread than the leader executes true
 *   handler   100 signals to itself, each returning through rt_sigreturn
 *   blocked   1,000 threads in futex, until all are ended with the process
 *   stopped   sleeps 1 s; its child stops it and lets it go on meanwhile */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

static void *execute(void *unused)
{
    execl("/bin/true", "true", (char *)NULL);
    return unused;
}

static void handle(int number)
{
    (void)number;
}

static void *block(void *word)
{
    for (;;)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static int start(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    return pthread_create(&thread, &small, body, argument);
}

static int stop_and_go(void)
{
    pid_t parent = getpid(), child = fork();
    struct timespec whole = {1, 0}, part = {0, 200000000};
    if (child == 0) {
        nanosleep(&part, NULL);
        kill(parent, SIGSTOP);
        nanosleep(&part, NULL);
        kill(parent, SIGCONT);
        _exit(0);
    }
    syscall(SYS_nanosleep, &whole, NULL);
    return waitpid(child, NULL, 0) == child ? 0 : 1;
}

int main(int argc, char **argv)
{
    static uint32_t word;
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "exec") == 0) {
        start(execute, NULL);
        for (;;)
            pause();
    }
    if (strcmp(name, "handler") == 0) {
        signal(SIGUSR1, handle);
        for (int i = 0; i < 100; i++)
            raise(SIGUSR1);
        return 0;
    }
    if (strcmp(name, "blocked") == 0) {
        for (int i = 0; i < 1000; i++)
            if (start(block, &word) != 0)
                return 1;
        struct timespec time = {0, 300000000};
        nanosleep(&time, NULL);
        return 0;
    }
    return strcmp(name, "stopped") == 0 ? stop_and_go() : 2;
}
