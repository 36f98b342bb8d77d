/* SPDX-License-Identifier: Apache-2.0
 * A program whose time is known: `sixty`, `thirty` and `ten` take that many parts in a hundred of
 * it. It waits for a byte (or the end) of standard input, then does what its arguments say, in
 * order: spin N             N rounds threads K N        N rounds in each of K threads, named
 * busy-thread children K N       N rounds in each of K child processes, all at once exec PROGRAM
 * ...   becomes another program library PATH N     loads a library and has it do N rounds write N
 * N calls of write() */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

/* Each step needs the last one's result, so that where the loop lies in the cache does not matter.
 * Asking for the frame's address makes one, which a function that calls none would do without. */
static inline __attribute__((always_inline)) void steps(long n)
{
    unsigned long x = (unsigned long)__builtin_frame_address(0) | 1;
    for (; n > 0; n--) {
        x *= 6364136223846793005ul;
        __asm__ volatile("" : "+r"(x));
    }
}

APART static void sixty(void)
{
    steps(6000);
}

APART static void thirty(void)
{
    steps(3000);
}

APART static void ten(void)
{
    steps(1000);
}

APART static void inner(void)
{
    thirty();
    ten();
}

APART static void spin(long n)
{
    while (n-- > 0) {
        sixty();
        inner();
    }
}

static void *thread(void *n)
{
    prctl(PR_SET_NAME, "busy-thread");
    spin((long)n);
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
            spin(n);
            _exit(0);
        }
    }
    while (wait(NULL) > 0)
        ;
}

static void library(const char *path, long n)
{
    void *loaded = dlopen(path, RTLD_NOW);
    void (*work)(long) = NULL;
    if (loaded == NULL)
        _exit(9);
    *(void **)&work = dlsym(loaded, "library_work");
    if (work == NULL)
        _exit(9);
    work(n);
}

APART static void write_times(long n)
{
    int nowhere = open("/dev/null", O_WRONLY);
    while (n-- > 0)
        if (write(nowhere, "x", 1) != 1)
            _exit(9);
    close(nowhere);
}

int main(int argc, char **argv)
{
    char byte;
    if (read(0, &byte, 1) < 0)
        return 9;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *what = argv[i];
        if (strcmp(what, "spin") == 0)
            spin(atol(argv[i + 1]));
        else if (strcmp(what, "write") == 0)
            write_times(atol(argv[i + 1]));
        else if (strcmp(what, "exec") == 0)
            return execv(argv[i + 1], &argv[i + 1]);
        else if (strcmp(what, "threads") == 0 && i + 2 < argc)
            threads(atol(argv[i + 1]), atol(argv[i + 2])), i++;
        else if (strcmp(what, "children") == 0 && i + 2 < argc)
            children(atol(argv[i + 1]), atol(argv[i + 2])), i++;
        else if (strcmp(what, "library") == 0 && i + 2 < argc)
            library(argv[i + 1], atol(argv[i + 2])), i++;
        else
            return 8;
    }
    return 0;
}
