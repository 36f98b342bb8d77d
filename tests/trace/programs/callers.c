// Makes two system calls, each through a function of its own, in turn.
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BARRIER() __asm__ volatile("" ::: "memory") // keeps the call above from becoming a jump

static __attribute__((noinline)) void sleep_a_bit(void)
{
    const struct timespec ten_us = {.tv_nsec = 10000};
    nanosleep(&ten_us, NULL);
    BARRIER();
}

static __attribute__((noinline)) void sleeps(void)
{
    sleep_a_bit();
    BARRIER();
}

static __attribute__((noinline)) void ask_parent(void)
{
    getppid();
    BARRIER();
}

static __attribute__((noinline)) void asks(void)
{
    ask_parent();
    BARRIER();
}

int main(int argc, char **argv)
{
    for (int i = argc > 1 ? atoi(argv[1]) : 1; i > 0; i--) {
        sleeps();
        asks();
    }
    return 0;
}
