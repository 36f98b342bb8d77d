/* SPDX-License-Identifier: Apache-2.0
 * A program of threads and children whose calls of write() are known. It waits for a byte (or the
 * end) of standard input.
 * family gated      says "ready" when its threads and children wait for a byte each as well
 * family rush       is at its end as fast as it can
 * family write N    N calls of write() */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self;

static void await(void)
{
    char byte;
    if (read(0, &byte, 1) < 0)
        _exit(9);
}

static void writes(long n)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (n-- > 0)
        if (write(nowhere, "x", 1) != 1)
            _exit(9);
    close(nowhere);
}

static void touch(size_t pages)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = pages * page;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(9);
    for (size_t i = 0; i < size; i += page)
        memory[i] = 1;
    munmap(memory, size);
}

static void become_writer(long n)
{
    char text[24];
    snprintf(text, sizeof(text), "%ld", n);
    execl(self, self, "write", text, (char *)NULL);
    _exit(9);
}

static void *write_in_thread(void *n)
{
    writes((long)n);
    touch(10);
    return NULL;
}

static void *write_when_told(void *n)
{
    await();
    return write_in_thread(n);
}

static void *become_writer_in_thread(void *n)
{
    become_writer((long)n);
    return NULL;
}

static pthread_t start(void *(*body)(void *), long n)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, (void *)n) != 0)
        _exit(9);
    return thread;
}

enum kind { WRITES, EXECS, HAS_CHILD, EXECS_IN_THREAD };

static void child(enum kind kind, long n, int gated)
{
    pid_t pid = fork();
    if (pid < 0)
        _exit(9);
    if (pid > 0)
        return;
    if (gated)
        await();
    if (kind == EXECS)
        become_writer(n);
    if (kind == EXECS_IN_THREAD)
        pthread_join(start(become_writer_in_thread, n), NULL);
    if (kind == HAS_CHILD) {
        child(WRITES, n, 0);
        wait(NULL);
    } else {
        writes(n);
        touch(20);
    }
    _exit(0);
}

static void await_children(void)
{
    int status;
    while (wait(&status) > 0)
        if (status != 0)
            _exit(9);
}

static void gated(void)
{
    pthread_t threads[3];
    for (long i = 0; i < 3; i++)
        threads[i] = start(write_when_told, 100 * (i + 1));
    child(WRITES, 10, 1);
    child(WRITES, 20, 1);
    child(EXECS, 33, 1);
    if (write(1, "ready\n", 6) != 6)
        _exit(9);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    await_children();
    writes(4);
}

static void rush(void)
{
    enum { BRIEF = 40 };
    pthread_t threads[BRIEF];
    for (long i = 0; i < BRIEF; i++)
        threads[i] = start(write_in_thread, i % 10 == 0 ? 100 : 1);
    child(WRITES, 10, 0);
    child(EXECS, 33, 0);
    child(HAS_CHILD, 7, 0);
    child(EXECS_IN_THREAD, 13, 0);
    for (int i = 0; i < BRIEF; i++)
        pthread_join(threads[i], NULL);
    await_children();
    child(EXECS_IN_THREAD, 40, 0);
    await_children();
    become_writer(50);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        writes(atol(argv[2]));
        touch(5);
        return 0;
    }
    if (argc != 2)
        return 8;
    await();
    if (strcmp(argv[1], "gated") == 0)
        gated();
    else
        rush();
    return 0;
}
