/* SPDX-License-Identifier: Apache-2.0
 * Makes calls and writes down its own clock before and after each: stamped FILE KIND N.
 * KIND seek: call number i is an lseek that returns i. sleep: nanosleep, poll and futex in turn, of
 * 1 to 5 ms. What FILE holds: for each call two uint64_t, ns of CLOCK_MONOTONIC. */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void doze(long i)
{
    static uint32_t word;
    long ms = 1 + i % 5;
    struct timespec time = {0, ms * 1000000};
    if (i % 3 == 0)
        syscall(SYS_nanosleep, &time, NULL);
    else if (i % 3 == 1)
        syscall(SYS_ppoll, NULL, 0, &time, NULL, 8);
    else
        syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    long n = atol(argv[3]);
    int is_seek = strcmp(argv[2], "seek") == 0;
    int out = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0666), file = open(argv[0], O_RDONLY);
    size_t size = (size_t)n * 2 * sizeof(uint64_t);
    if (out < 0 || file < 0 || ftruncate(out, (off_t)size) != 0)
        return 1;
    uint64_t *stamps = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
    if (stamps == MAP_FAILED)
        return 1;
    memset(stamps, 0, size);
    for (long i = 0; i < n; i++) {
        stamps[2 * i] = now();
        if (is_seek)
            syscall(SYS_lseek, file, i, SEEK_SET);
        else
            doze(i);
        stamps[2 * i + 1] = now();
    }
    return 0;
}
