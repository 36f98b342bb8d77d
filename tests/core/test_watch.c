/* SPDX-License-Identifier: Apache-2.0
 * Births and ends of threads as FORK and EXIT records tell them. */
#include "check.h"
#include "watch.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

static void *tell_tid(void *tid)
{
    *(int32_t *)tid = own_tid();
    return NULL;
}

struct family {
    int32_t child, grandchild;
};

static void *make_one_more(void *context)
{
    struct family *family = context;
    pthread_t thread;
    family->child = own_tid();
    CHECK_EQ(pthread_create(&thread, NULL, tell_tid, &family->grandchild), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return NULL;
}

static struct family make_family(void)
{
    struct family family;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, make_one_more, &family), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return family;
}

/* The first record of a birth (or of an end) of tid, or NULL. */
static const struct kp_fork *find(const struct kp_fork *forks, size_t n, int32_t tid, int born)
{
    for (size_t i = 0; i < n; i++)
        if (forks[i].tid == tid && (forks[i].ptid != 0) == born)
            return &forks[i];
    return NULL;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void check_family(struct kp_watch *watch)
{
    const struct kp_fork *forks;
    size_t n;
    uint64_t begin = now_ns();
    struct family family = make_family();
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    const struct kp_fork *child = find(forks, n, family.child, 1);
    const struct kp_fork *grandchild = find(forks, n, family.grandchild, 1);
    const struct kp_fork *end = find(forks, n, family.grandchild, 0);
    CHECK(child != NULL && grandchild != NULL && end != NULL);
    CHECK_EQ(child->ptid, own_tid());
    CHECK_EQ(grandchild->ptid, family.child);
    CHECK(begin <= child->time && child->time < grandchild->time && grandchild->time < end->time);
    CHECK(end->time <= now_ns());
    CHECK_EQ(kp_watch_lost(watch), 0);
    for (size_t i = 1; i < n; i++)
        CHECK(forks[i - 1].time <= forks[i].time);
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    CHECK(find(forks, n, family.child, 1) != NULL); /* all since the creation, each time */
}

TEST(watch_every_process)
{
    struct kp_watch *watch;
    need_privilege();
    int before = open_descriptors();
    CHECK_OK(kp_watch_create(&watch));
    CHECK_OK(kp_watch_add(watch, own_tid()));
    CHECK_EQ(kp_watch_cost(watch), 0);
    check_family(watch);
    kp_watch_destroy(watch);
    CHECK_EQ(open_descriptors(), before);
}

static void watch_own(void *unused)
{
    struct kp_watch *watch;
    (void)unused;
    int before = open_descriptors();
    CHECK_OK(kp_watch_create(&watch));
    CHECK(kp_watch_cost(watch) > 0);
    const struct kp_fork *forks;
    size_t n;
    struct family unseen = make_family();
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    CHECK_EQ(n, 0);
    (void)unseen;
    CHECK_OK(kp_watch_add(watch, own_tid()));
    check_family(watch);
    CHECK_OK(kp_watch_add(watch, 0x7ffffff0)); /* nobody: gone meanwhile */
    kp_watch_destroy(watch);
    CHECK_EQ(open_descriptors(), before);
}

TEST(watch_by_task)
{
    need_paranoid_2();
    as_user(watch_own, NULL);
}

static void do_nothing(void *unused)
{
    (void)unused;
}

TEST(watch_leaves_processes_out)
{
    struct kp_watch *watch;
    const struct kp_fork *forks;
    size_t n;
    need_privilege();
    CHECK_OK(kp_watch_create(&watch));
    in_child(do_nothing, NULL);
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    for (size_t i = 0; i < n; i++)
        CHECK(forks[i].ptid != own_tid());
    kp_watch_destroy(watch);
}

/* More than a ring for a task holds, all on one CPU: the loss is told. */
static void make_more_than_fit(void *unused)
{
    enum { MANY = 6000 };
    struct kp_watch *watch;
    const struct kp_fork *forks;
    size_t n, seen = 0;
    cpu_set_t one, all;
    (void)unused;
    CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    CHECK_OK(kp_watch_create(&watch));
    CHECK_OK(kp_watch_add(watch, own_tid()));
    for (int i = 0; i < MANY; i++) {
        pthread_t thread;
        int32_t tid;
        CHECK_EQ(pthread_create(&thread, NULL, tell_tid, &tid), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    make_family(); /* the loss is told with the next record that finds room */
    CHECK_OK(kp_watch_drain(watch, &forks, &n));
    for (size_t i = 0; i < n; i++)
        seen += forks[i].ptid == own_tid();
    CHECK(seen < MANY);
    CHECK(kp_watch_lost(watch) >= MANY - seen);
    kp_watch_destroy(watch);
}

TEST(watch_counts_what_is_lost)
{
    need_paranoid_2();
    as_user(make_more_than_fit, NULL);
}
