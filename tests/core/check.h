/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the core share: named tests, checks that end a test, small helpers. */
#ifndef KPERF_TEST_CHECK_H
#define KPERF_TEST_CHECK_H

#include "kperf_core.h"
#include "perf_abi.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct test {
    const char *name;
    void (*body)(void);
    struct test *next;
};

void add_test(struct test *test);

/* A test by its name. test_core.py finds them by this word at the beginning of a line. */
#define TEST(id)                                            \
    static void id(void);                                   \
    __attribute__((constructor)) static void add_##id(void) \
    {                                                       \
        static struct test test = {#id, id, NULL};          \
        add_test(&test);                                    \
    }                                                       \
    static void id(void)

_Noreturn void fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends the test: what this machine lacks. */
_Noreturn void skip(const char *reason);

#define CHECK(condition) \
    ((condition) ? (void)0 : fail(__FILE__, __LINE__, "%s is not so", #condition))

#define CHECK_EQ(left, right)                                                                    \
    do {                                                                                         \
        long long left_ = (long long)(left), right_ = (long long)(right);                        \
        if (left_ != right_)                                                                     \
            fail(__FILE__, __LINE__, "%s is %lld, not %s = %lld", #left, left_, #right, right_); \
    } while (0)

/* A call into the core that must succeed; the core's error is told where it does not. */
#define CHECK_OK(call)                                                                           \
    do {                                                                                         \
        int rc_ = (call);                                                                        \
        if (rc_ != 0)                                                                            \
            fail(__FILE__, __LINE__, "%s is %d: %s (errno %d, event %d, cpu %d, tid %d)", #call, \
                 rc_, kp_last_error()->message, kp_last_error()->sys_errno,                      \
                 kp_last_error()->event, kp_last_error()->cpu, kp_last_error()->tid);            \
    } while (0)

enum { SW_TASK_CLOCK = 1, SW_PAGE_FAULTS = 2, SW_CONTEXT_SWITCHES = 3 };

/* How often to do what is better done often: less often where something slows this program down,
 * more often at the developer's wish (KPERF_TEST_PERCENT). */
int repeat(int times);

/* The core runs many times as slow as the programs it attaches to, as under valgrind: then it may
 * honestly be unsure, but never wrong. */
int slowed(void);

/* Skip where this machine does not let the test be. */
void need_privilege(void);
void need_paranoid_2(void);

struct kp_event software(uint64_t config);
struct kp_event user_software(uint64_t config);
struct kp_event tracepoint(const char *name);

/* Counts stores to 8 aligned bytes: to the last one, and without any privilege. */
struct kp_event stores_to(const volatile void *address);
void store(volatile uint64_t *word, int times);

struct kp_target own_thread(void);
struct kp_target everybody(void);
struct kp_target process(const int32_t *pid);

int32_t own_tid(void);

/* A session over this thread; the code with which one is refused, leaving no descriptor open. */
struct kp_session *open_own(const struct kp_event *events, size_t n, uint32_t flags);
int refused(const struct kp_event *events, size_t n, uint32_t flags);

/* The sum over all rows of one event. */
struct kp_counts *read_all(struct kp_session *session);
uint64_t sum_of(const struct kp_counts *counts, uint32_t event);
uint64_t read_sum(struct kp_session *session, uint32_t event);

int open_descriptors(void);

/* Runs body in a forked child; returns its wait status. */
int in_child(void (*body)(void *), void *argument);
/* The same without any privilege, and CHECKs that it succeeds. */
void as_user(void (*body)(void *), void *argument);

/* Touches n fresh pages: n page faults. */
void touch_pages(size_t n);

#endif
