/* SPDX-License-Identifier: Apache-2.0
 * A 32-bit program of its own, without a library: 10 times getppid, which is 64 for it, and 64 is
 * semget elsewhere; then it exits. */
static long call(long number, long argument)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(argument) : "memory");
    return result;
}

void _start(void)
{
    for (int i = 0; i < 10; i++)
        call(64, 0);
    call(1, 0);
}
