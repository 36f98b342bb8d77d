/* SPDX-License-Identifier: Apache-2.0
 * What busy.c loads while it runs. */
void library_work(long n);

__attribute__((noinline)) static void in_the_library(void)
{
    unsigned long x = 1;
    for (long step = 0; step < 10000; step++) {
        x *= 6364136223846793005ul;
        __asm__ volatile("" : "+r"(x));
    }
}

void library_work(long n)
{
    while (n-- > 0)
        in_the_library();
}
