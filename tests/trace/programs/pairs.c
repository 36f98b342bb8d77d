/* SPDX-License-Identifier: Apache-2.0
 * N pairs of a one-byte write and a one-byte read, as fast as one thread can: pairs N [FILE].
 * FILE gets the nanoseconds that they took. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int argc, char **argv)
{
    long n = argc > 1 ? atol(argv[1]) : 1000000;
    int sink = open("/dev/null", O_WRONLY), source = open("/dev/zero", O_RDONLY);
    char byte = 0;
    long long begin = now();
    for (long i = 0; i < n; i++)
        if (write(sink, &byte, 1) != 1 || read(source, &byte, 1) != 1)
            return 1;
    long long took = now() - begin;
    FILE *file = argc > 2 ? fopen(argv[2], "w") : NULL;
    if (file == NULL)
        return argc > 2;
    fprintf(file, "%lld\n", took);
    return fclose(file) != 0;
}
