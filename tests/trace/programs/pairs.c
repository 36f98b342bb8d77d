/* SPDX-License-Identifier: Apache-2.0
 * N pairs of a one-byte write and a one-byte read, as fast as one thread can: pairs N. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long n = argc > 1 ? atol(argv[1]) : 1000000;
    int sink = open("/dev/null", O_WRONLY), source = open("/dev/zero", O_RDONLY);
    char byte = 0;
    for (long i = 0; i < n; i++)
        if (write(sink, &byte, 1) != 1 || read(source, &byte, 1) != 1)
            return 1;
    return 0;
}
