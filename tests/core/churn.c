/* SPDX-License-Identifier: Apache-2.0
 * A process that makes and ends threads without pause, and knows exactly what they did.
 *
 *   churn MAKERS PAUSE_US KEPT
 *
 * MAKERS threads make others: some end at once, some make one more before they end, some stay for a
 * few milliseconds, KEPT of them stay to the end. It says "ADDRESS\n" once that goes on. A byte on
 * standard input sets off the count: from then on every thread, old and new, works once, while more
 * are made for a while. Work is OPS stores to ADDRESS and OPS calls of write(2). When all have
 * ended it says how often there was work, and waits for the end of standard input.
 *
 * Nothing else here calls write(2): what it says goes out by writev(2). */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPS = 3, STACK = 64 * 1024, MOST_ALIVE = 150, AFTER_GO_US = 5000 };

static volatile uint64_t watched_word __attribute__((aligned(8)));
static int null_fd;
static unsigned pause_us;
static atomic_int alive, kept, ended;
static atomic_uint_fast64_t worked;
static pthread_attr_t small;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static atomic_int go;

static void work(void)
{
    for (int i = 0; i < OPS; i++) {
        watched_word = (uint64_t)i;
        if (write(null_fd, "x", 1) != 1)
            abort();
    }
    atomic_fetch_add(&worked, 1);
}

static void work_if_gone(void)
{
    if (atomic_load(&go))
        work();
}

static void wait_for_go(void)
{
    pthread_mutex_lock(&gate);
    while (!atomic_load(&go))
        pthread_cond_wait(&opened, &gate);
    pthread_mutex_unlock(&gate);
    work();
}

static int make(void *(*body)(void *))
{
    pthread_t thread;
    atomic_fetch_add(&alive, 1);
    if (pthread_create(&thread, &small, body, NULL) == 0)
        return 1;
    atomic_fetch_sub(&alive, 1);
    return 0;
}

static void *finish(void)
{
    work_if_gone();
    atomic_fetch_sub(&alive, 1);
    return NULL;
}

static void *short_lived(void *unused)
{
    (void)unused;
    return finish();
}

static void *lingering(void *unused)
{
    (void)unused;
    usleep(500 + (unsigned)(uintptr_t)&unused % 3000);
    return finish();
}

static void *nested(void *unused)
{
    (void)unused;
    make(lingering);
    return finish();
}

static void *nested_twice(void *unused)
{
    (void)unused;
    make(nested);
    usleep(200);
    make(lingering);
    return finish();
}

static void *stays(void *unused)
{
    (void)unused;
    wait_for_go();
    atomic_fetch_sub(&alive, 1);
    return NULL;
}

static void *stays_and_makes(void *unused)
{
    (void)unused;
    make(lingering);
    wait_for_go();
    atomic_fetch_sub(&alive, 1);
    return NULL;
}

static void make_one(unsigned *seed)
{
    static void *(*const bodies[])(void *) = {short_lived, lingering, nested, nested_twice};
    unsigned pick = (unsigned)rand_r(seed);
    if (atomic_load(&alive) > MOST_ALIVE)
        usleep(200);
    else if (pick % 8 == 0 && atomic_fetch_sub(&kept, 1) > 0)
        make(pick & 8 ? stays : stays_and_makes);
    else
        make(bodies[(pick >> 4) % 4]);
    if (pause_us > 0)
        usleep((unsigned)rand_r(seed) % (2 * pause_us));
}

static void *maker(void *seed_of)
{
    unsigned seed = (unsigned)(uintptr_t)seed_of;
    while (!atomic_load(&ended))
        make_one(&seed);
    return finish();
}

static void say(const char *text)
{
    struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
    if (writev(STDOUT_FILENO, &part, 1) < 0)
        abort();
}

int main(int argc, char **argv)
{
    char text[64], byte;
    if (argc != 4)
        return 2;
    int makers = atoi(argv[1]);
    pause_us = (unsigned)atoi(argv[2]);
    atomic_store(&kept, atoi(argv[3]));
    null_fd = open("/dev/null", O_WRONLY);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < makers; i++) {
        pthread_t thread;
        atomic_fetch_add(&alive, 1);
        if (pthread_create(&thread, &small, maker, (void *)(uintptr_t)(i + getpid())) != 0)
            return 3;
    }
    usleep(1000);
    snprintf(text, sizeof(text), "%#lx\n", (unsigned long)(uintptr_t)&watched_word);
    say(text);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        return 4;
    pthread_mutex_lock(&gate);
    atomic_store(&go, 1);
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&gate);
    work();
    usleep(AFTER_GO_US);
    atomic_store(&ended, 1);
    while (atomic_load(&alive) > 0)
        usleep(100);
    snprintf(text, sizeof(text), "%lu\n", (unsigned long)atomic_load(&worked) * OPS);
    say(text);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
