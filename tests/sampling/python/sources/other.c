/* SPDX-License-Identifier: Apache-2.0
 * What busy.c becomes: its functions have other names. */
#include <stdlib.h>

__attribute__((noinline)) static void after_exec(void)
{
    unsigned long x = 1;
    for (long step = 0; step < 10000; step++) {
        x *= 6364136223846793005ul;
        __asm__ volatile("" : "+r"(x));
    }
}

int main(int argc, char **argv)
{
    for (long n = argc > 1 ? atol(argv[1]) : 0; n > 0; n--)
        after_exec();
    return 0;
}
