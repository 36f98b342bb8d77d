/* SPDX-License-Identifier: Apache-2.0
 * Rows for the newborn: the sharing out of totals at random, and the real thing with threads and
 * children of this process. */
#include "check.h"
#include "count.h"
#include "shareout.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- sharing out ---- */

static uint64_t seed = 88172645463325252u;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 32) % below;
}

enum { ROOTS = 3, EVENTS = 2, NEWBORN = 4, READS = 20, TRACKING = 0 };

static void set_row(struct kp_counts *counts, size_t row, uint32_t event, uint64_t count,
                    uint64_t time)
{
    counts->event[row] = event;
    counts->count[row] = counts->value[row] = count;
    counts->enabled[row] = counts->running[row] = time;
    counts->state[row] = time > 0 ? KP_COUNTED : KP_NOT_COUNTED;
}

/* Each newborn counts for itself; what it counts between its own reading and its root's is in the
 * root's total of this read, and in its own rows of the next. */
TEST(shared_out_at_random)
{
    int times = repeat(200);
    for (int round = 0; round < times; round++) {
        struct kp_cell cells[NEWBORN][1 + EVENTS] = {0};
        uint64_t late[NEWBORN][EVENTS] = {0};
        uint64_t shown[NEWBORN][EVENTS] = {0}, counted[NEWBORN][EVENTS] = {0};
        size_t root[NEWBORN];
        for (int i = 0; i < NEWBORN; i++)
            root[i] = any(ROOTS);
        for (int n = 0; n < READS; n++) {
            struct kp_counts *totals = kp_counts_create(ROOTS * (1 + EVENTS));
            struct kp_counts *own = kp_counts_create(NEWBORN * (1 + EVENTS)), *rows;
            struct kp_part parts[NEWBORN];
            uint64_t expected[1 + EVENTS] = {0}, sum[1 + EVENTS] = {0};
            CHECK(totals != NULL && own != NULL);
            for (size_t i = 0; i < ROOTS; i++) {
                set_row(totals, i * (1 + EVENTS), TRACKING, 7, 7);
                for (uint32_t event = 1; event <= EVENTS; event++)
                    set_row(totals, i * (1 + EVENTS) + event, event, any(2) * any(50), any(100));
            }
            for (size_t i = 0; i < NEWBORN; i++) {
                set_row(own, i * (1 + EVENTS), TRACKING, 0, 0);
                own->state[i * (1 + EVENTS)] = KP_NOT_SUPPORTED;
                parts[i] = (struct kp_part){.counts = own,
                                            .first = i * (1 + EVENTS),
                                            .len = 1 + EVENTS,
                                            .total = root[i] * (1 + EVENTS),
                                            .cells = cells[i]};
                for (uint32_t event = 1; event <= EVENTS; event++) {
                    uint64_t fresh = any(40), after = any(3) == 0 ? any(30) : 0;
                    size_t total = parts[i].total + event;
                    set_row(own, parts[i].first + event, event, late[i][event - 1] + fresh, 1);
                    totals->count[total] += fresh + after;
                    totals->value[total] += fresh + after;
                    counted[i][event - 1] += late[i][event - 1] + fresh;
                    late[i][event - 1] = after;
                }
            }
            for (size_t i = 0; i < totals->len; i++)
                expected[totals->event[i]] += totals->count[i];
            CHECK_OK(kp_share_out(totals, parts, NEWBORN, TRACKING, &rows));
            CHECK_EQ(rows->len, (ROOTS + NEWBORN) * EVENTS);
            for (size_t i = 0; i < rows->len; i++) {
                CHECK_EQ(rows->count[i], rows->value[i]);
                CHECK(rows->count[i] < 1000000); /* never below 0 */
                sum[rows->event[i]] += rows->count[i];
            }
            for (uint32_t event = 1; event <= EVENTS; event++)
                CHECK_EQ(sum[event], expected[event]);
            CHECK_EQ(sum[TRACKING], 0);
            for (size_t i = 0; i < NEWBORN; i++)
                for (uint32_t event = 0; event < EVENTS; event++) {
                    shown[i][event] += rows->count[(ROOTS + i) * EVENTS + event];
                    CHECK_EQ(shown[i][event] + cells[i][1 + event].unshown.count,
                             counted[i][event]);
                }
            kp_counts_destroy(totals);
            kp_counts_destroy(own);
            kp_counts_destroy(rows);
        }
    }
}

/* A root that slept all the time while others counted says so, and one that is not supported too.
 */
TEST(shared_out_states)
{
    struct kp_counts *totals = kp_counts_create(3), *own = kp_counts_create(2), *rows;
    struct kp_part part = {.counts = own, .len = 2, .total = 0};
    set_row(totals, 0, TRACKING, 0, 0);
    set_row(totals, 1, 1, 10, 50);
    set_row(totals, 2, 2, 0, 0);
    totals->state[2] = KP_NOT_SUPPORTED;
    set_row(own, 0, TRACKING, 0, 0);
    set_row(own, 1, 1, 10, 50);
    CHECK_OK(kp_share_out(totals, &part, 1, TRACKING, &rows));
    CHECK_EQ(rows->len, 3);
    CHECK_EQ(rows->state[0], KP_NOT_COUNTED);
    CHECK_EQ(rows->state[1], KP_NOT_SUPPORTED);
    CHECK_EQ(rows->state[2], KP_COUNTED);
    CHECK_EQ(rows->count[2], 10);
    kp_counts_destroy(totals);
    kp_counts_destroy(own);
    kp_counts_destroy(rows);
}

/* ---- for real ---- */

static int32_t cpus[1024];

static struct kp_offspring *open_offspring(const int32_t *pid, uint64_t config)
{
    struct kp_event events[2] = {software(KP_SW_DUMMY), user_software(config)};
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    struct kp_offspring *offspring = NULL;
    for (int32_t cpu = 0; cpu < n; cpu++)
        cpus[cpu] = cpu;
    events[0].flags = KP_EVENT_TRACKING;
    events[0].n_cpus = (uint32_t)n;
    events[0].cpus = cpus;
    events[1].leader = 1;
    struct kp_target target = process(pid);
    CHECK_OK(kp_offspring_create(events, 2, &target, KP_INHERIT, &offspring));
    return offspring;
}

static void *touch_in_thread(void *pages)
{
    touch_pages((size_t)pages);
    return NULL;
}

enum { PAGES = 64, BORN = 20 };

TEST(offspring_of_this_process)
{
    int before = open_descriptors();
    int32_t pid = getpid();
    struct kp_offspring *offspring = open_offspring(&pid, SW_PAGE_FAULTS);
    struct kp_counts *counts;
    struct kp_offspring_report report;
    CHECK_OK(kp_offspring_enable(offspring));
    for (int i = 0; i < BORN; i++) {
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, touch_in_thread, (void *)(size_t)PAGES), 0);
        pthread_join(thread, NULL);
        pid_t child = fork();
        if (child == 0) {
            touch_pages(PAGES);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    CHECK_OK(kp_offspring_disable(offspring));
    CHECK_OK(kp_offspring_read(offspring, &counts));
    CHECK_OK(kp_offspring_report(offspring, &report));
    CHECK(sum_of(counts, 1) >= 2 * BORN * PAGES);
    CHECK_EQ(sum_of(counts, 0), 0);
    CHECK(counts->len >= 1 && counts->len <= 1 + 2 * BORN);
    CHECK(counts->len - 1 + report.gone + report.refused + report.beyond <= 2 * BORN);
    CHECK_EQ(counts->tid[0], pid);
    kp_counts_destroy(counts);
    CHECK_OK(kp_offspring_read(offspring, &counts));
    CHECK_EQ(sum_of(counts, 1), 0);
    kp_counts_destroy(counts);
    kp_offspring_destroy(offspring);
    CHECK_EQ(open_descriptors(), before);
}

static void use_anyway(void *offspring)
{
    struct kp_counts *counts;
    CHECK_EQ(kp_offspring_enable(offspring), KP_E_FORKED);
    CHECK_EQ(kp_offspring_disable(offspring), KP_E_FORKED);
    CHECK_EQ(kp_offspring_read(offspring, &counts), KP_E_FORKED);
    kp_offspring_abandon(offspring);
}

TEST(offspring_abandoned_in_a_child)
{
    int32_t pid = getpid();
    struct kp_offspring *offspring = open_offspring(&pid, SW_PAGE_FAULTS);
    struct kp_counts *counts;
    CHECK_OK(kp_offspring_enable(offspring));
    kp_offspring_hold(offspring);
    CHECK_EQ(in_child(use_anyway, offspring), 0);
    kp_offspring_go_on(offspring);
    touch_pages(PAGES);
    CHECK_OK(kp_offspring_read(offspring, &counts));
    CHECK(sum_of(counts, 1) >= PAGES);
    kp_counts_destroy(counts);
    kp_offspring_destroy(offspring);
}

TEST(offspring_that_is_asked_for_wrongly)
{
    struct kp_event events[2] = {software(KP_SW_DUMMY), software(SW_PAGE_FAULTS)};
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    struct kp_offspring *offspring;
    events[1].leader = 1;
    CHECK_EQ(kp_offspring_create(events, 2, &target, KP_INHERIT, &offspring), KP_E_ARGUMENT);
    events[0].flags = KP_EVENT_TRACKING;
    CHECK_EQ(kp_offspring_create(events, 2, &target, 0, &offspring), KP_E_ARGUMENT);
    CHECK_EQ(kp_offspring_create(events, 1, &target, KP_INHERIT, &offspring), KP_E_ARGUMENT);
}
