/* SPDX-License-Identifier: Apache-2.0
 * What bench_record.py records. At its end it says when that was and what CPU time it took, in ns.
 * spin N     N rounds of arithmetic
 * write N    N calls of write(), 20 frames deep
 * wait K     K threads that wait until standard input ends */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void spin(long n)
{
    unsigned long x = 1;
    for (n *= 1000; n > 0; n--) {
        x *= 6364136223846793005ul;
        __asm__ volatile("" : "+r"(x));
    }
}

__attribute__((noinline)) static void write_deep(int depth, int fd, long n)
{
    if (depth > 0)
        write_deep(depth - 1, fd, n);
    else
        while (n-- > 0)
            if (write(fd, "x", 1) != 1)
                _exit(9);
    __asm__ volatile("");
}

static void *wait_for_end(void *unused)
{
    char byte;
    (void)unused;
    while (read(0, &byte, 1) > 0)
        ;
    return NULL;
}

static void wait_in_threads(long n)
{
    pthread_t thread;
    for (long i = 1; i < n; i++)
        if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
            _exit(9);
    if (write(1, "ready\n", 6) != 6)
        _exit(9);
    wait_for_end(NULL);
}

static long long now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 8;
    long n = atol(argv[2]);
    if (strcmp(argv[1], "spin") == 0)
        spin(n);
    else if (strcmp(argv[1], "write") == 0)
        write_deep(17, open("/dev/null", O_WRONLY), n);
    else
        wait_in_threads(n);
    fprintf(stderr, "ended %lld %lld\n", now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
