/* SPDX-License-Identifier: Apache-2.0
 * A program whose counts are known. It waits for a byte (or the end) of standard input, then does
 * what its arguments say, in order: write N        N calls of write() touch N        the first
 * touch of N pages threads K N    N writes in each of K threads children K N   N writes in each of
 * K child processes pingpong N     N round trips through two pipes with a child spin MS        this
 * much CPU time sleep MS       this much time asleep */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int nowhere;

/* A place to set a breakpoint on. */
static void __attribute__((noinline)) write_once(void)
{
    if (write(nowhere, "x", 1) != 1)
        _exit(9);
}

static void write_times(long n)
{
    while (n-- > 0)
        write_once();
}

static void touch(long n)
{
    long page = sysconf(_SC_PAGESIZE);
    char *memory =
        mmap(NULL, (size_t)(n * page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        _exit(9);
    madvise(memory, (size_t)(n * page), MADV_NOHUGEPAGE);
    for (long i = 0; i < n; i++)
        ((volatile char *)memory)[i * page] = 1;
}

static void *thread(void *n)
{
    write_times((long)n);
    return NULL;
}

static void threads(long k, long n)
{
    pthread_t *ids = calloc((size_t)k, sizeof(*ids));
    for (long i = 0; i < k; i++)
        if (pthread_create(&ids[i], NULL, thread, (void *)n) != 0)
            _exit(9);
    for (long i = 0; i < k; i++)
        pthread_join(ids[i], NULL);
    free(ids);
}

static void children(long k, long n)
{
    for (long i = 0; i < k; i++) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(9);
        if (pid == 0) {
            write_times(n);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

static void pingpong(long n)
{
    int to[2], from[2];
    char byte = 0;
    if (pipe(to) != 0 || pipe(from) != 0)
        _exit(9);
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1)
            if (write(from[1], &byte, 1) != 1)
                _exit(9);
        _exit(0);
    }
    while (n-- > 0)
        if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
            _exit(9);
    close(to[1]);
    waitpid(pid, NULL, 0);
}

static void spin(long ms)
{
    struct timespec start, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0)
        ;
}

int main(int argc, char **argv)
{
    char byte;
    nowhere = open("/dev/null", O_WRONLY);
    if (nowhere < 0 || read(0, &byte, 1) < 0)
        return 9;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *what = argv[i];
        long n = atol(argv[i + 1]);
        if (strcmp(what, "write") == 0)
            write_times(n);
        else if (strcmp(what, "touch") == 0)
            touch(n);
        else if (strcmp(what, "threads") == 0 && i + 2 < argc)
            threads(n, atol(argv[++i + 1]));
        else if (strcmp(what, "children") == 0 && i + 2 < argc)
            children(n, atol(argv[++i + 1]));
        else if (strcmp(what, "pingpong") == 0)
            pingpong(n);
        else if (strcmp(what, "spin") == 0)
            spin(n);
        else if (strcmp(what, "sleep") == 0)
            sleep_ms(n);
        else
            return 8;
    }
    return 0;
}
