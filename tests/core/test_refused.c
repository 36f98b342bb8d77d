/* SPDX-License-Identifier: Apache-2.0
 * What cannot be opened: what the error says, what is kept as a row, what is given up instead. */
#include "check.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { NO_SUCH_PMU = 0x7fffff00, NOBODY = 0x7ffffff0, MOST_MEMBERS = 256 };

static volatile uint64_t word __attribute__((aligned(8)));

/* ---- what a machine lacks ---- */

TEST(refused_unsupported_event)
{
    struct kp_event events[] = {stores_to(&word), {.type = NO_SUCH_PMU, .leader = 1}};
    CHECK_EQ(refused(events, 2, 0), KP_E_CPU);
    const struct kp_error *error = kp_last_error();
    CHECK_EQ(error->sys_errno, ENOENT);
    CHECK_EQ(error->event, 1);
    CHECK_EQ(error->cpu, -1);
    CHECK_EQ(error->tid, own_tid());
}

TEST(kept_unsupported_event)
{
    struct kp_event events[] = {stores_to(&word), {.type = NO_SUCH_PMU, .leader = 1}};
    struct kp_event_status status;
    struct kp_session *session = open_own(events, 2, KP_KEEP_UNSUPPORTED);
    CHECK_OK(kp_session_event_status(session, 0, &status));
    CHECK(status.supported && status.sys_errno == 0 && !status.user_only);
    CHECK_OK(kp_session_event_status(session, 1, &status));
    CHECK(!status.supported && status.sys_errno == ENOENT);
    CHECK_EQ(kp_session_event_status(session, 2, &status), KP_E_ARGUMENT);
    CHECK_OK(kp_session_enable(session));
    store(&word, 4);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->len, 2);
    CHECK_EQ(counts->count[0], 4);
    CHECK_EQ(counts->event[1], 1);
    CHECK_EQ(counts->state[1], KP_NOT_SUPPORTED);
    CHECK(counts->count[1] == 0 && counts->enabled[1] == 0 && counts->running[1] == 0);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(kept_unsupported_events_alone)
{
    struct kp_event event = {.type = NO_SUCH_PMU};
    struct kp_session *session = open_own(&event, 1, KP_KEEP_UNSUPPORTED);
    CHECK_OK(kp_session_enable(session));
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->state[0], KP_NOT_SUPPORTED);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
}

TEST(kept_cycles)
{
    struct kp_event event = {.type = KP_TYPE_HARDWARE,
                             .flags = KP_EVENT_EXCLUDE_KERNEL | KP_EVENT_HOST_BY_DEFAULT};
    struct kp_event_status status;
    int missing = kp_event_probe(&event) != 0;
    struct kp_session *session = open_own(&event, 1, KP_KEEP_UNSUPPORTED);
    CHECK_OK(kp_session_event_status(session, 0, &status));
    CHECK_EQ(status.supported, !missing);
    CHECK_OK(kp_session_enable(session));
    touch_pages(100);
    struct kp_counts *counts = read_all(session);
    CHECK_EQ(counts->state[0] == KP_NOT_SUPPORTED, missing);
    CHECK(missing || counts->state[0] != KP_COUNTED || counts->count[0] > 0);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    if (missing)
        CHECK_EQ(refused(&event, 1, 0), KP_E_CPU);
}

TEST(refused_by_probe)
{
    int32_t none = 5000;
    struct kp_event known = software(SW_PAGE_FAULTS), unknown = {.type = NO_SUCH_PMU};
    struct kp_event elsewhere = software(SW_PAGE_FAULTS);
    elsewhere.cpus = &none;
    elsewhere.n_cpus = 1;
    int before = open_descriptors();
    CHECK_OK(kp_event_probe(&known));
    CHECK_EQ(kp_event_probe(&unknown), KP_E_CPU);
    CHECK_EQ(kp_last_error()->sys_errno, ENOENT);
    CHECK(kp_event_probe(&elsewhere) < 0);
    CHECK_EQ(kp_last_error()->cpu, none);
    CHECK_EQ(open_descriptors(), before);
}

/* ---- bad arguments ---- */

TEST(refused_nothing)
{
    struct kp_event event = software(KP_SW_DUMMY);
    CHECK_EQ(refused(&event, 0, 0), KP_E_ARGUMENT);
}

TEST(refused_group_before_its_leader)
{
    struct kp_event events[] = {software(KP_SW_DUMMY), software(KP_SW_DUMMY)};
    events[0].leader = 1;
    events[1].leader = 1;
    CHECK_EQ(refused(events, 2, 0), KP_E_ARGUMENT);
    CHECK_EQ(kp_last_error()->event, 0);
}

TEST(refused_group_apart)
{
    struct kp_event events[] = {software(KP_SW_DUMMY), software(KP_SW_DUMMY),
                                software(KP_SW_DUMMY)};
    events[1].leader = 1;
    CHECK_EQ(refused(events, 3, 0),
             KP_E_ARGUMENT); /* the third follows the second, not the first */
    CHECK_EQ(kp_last_error()->event, 2);
}

TEST(refused_group_of_a_member)
{
    struct kp_event events[] = {software(KP_SW_DUMMY), software(KP_SW_DUMMY),
                                software(KP_SW_DUMMY)};
    events[2].leader = 1;
    CHECK_EQ(refused(events, 3, 0), KP_E_ARGUMENT);
}

TEST(refused_group_on_different_cpus)
{
    int32_t cpus[] = {0, 0};
    struct kp_event events[] = {software(KP_SW_DUMMY), software(KP_SW_DUMMY)};
    events[0].cpus = cpus;
    events[0].n_cpus = 2;
    CHECK_EQ(refused(events, 2, 0), KP_E_ARGUMENT);
    CHECK_EQ(kp_last_error()->event, 1);
}

TEST(refused_group_too_large)
{
    static struct kp_event events[MOST_MEMBERS + 1];
    for (int i = 0; i <= MOST_MEMBERS; i++)
        events[i] = software(KP_SW_DUMMY);
    CHECK_EQ(refused(events, MOST_MEMBERS + 1, 0), KP_E_GROUP);
    CHECK_EQ(kp_last_error()->event, MOST_MEMBERS);
}

TEST(refused_thread_that_is_none)
{
    struct kp_event event = software(KP_SW_DUMMY);
    static const int32_t nobodies[] = {NOBODY, -5};
    int before = open_descriptors();
    for (size_t i = 0; i < 2; i++) {
        int32_t tids[] = {own_tid(), nobodies[i]};
        struct kp_target target = {.tids = tids, .n_tids = 2, .cgroup_fd = -1};
        struct kp_session *session = NULL;
        int rc = kp_session_create(&event, 1, &target, KP_INHERIT, &session);
        CHECK(rc == KP_E_NO_PROCESS || (rc < 0 && nobodies[i] < 0));
        CHECK_EQ(kp_last_error()->tid, nobodies[i]);
        CHECK(session == NULL);
    }
    CHECK_EQ(open_descriptors(), before);
}

TEST(refused_process_that_is_none)
{
    struct kp_event event = software(KP_SW_DUMMY);
    static const int32_t nobodies[] = {NOBODY, 0, -1};
    int before = open_descriptors();
    for (size_t i = 0; i < 3; i++) {
        int32_t pids[] = {getpid(), nobodies[i]};
        struct kp_target target = {.pids = pids, .n_pids = 2, .cgroup_fd = -1};
        struct kp_session *session = NULL;
        CHECK(kp_session_create(&event, 1, &target, KP_INHERIT, &session) < 0);
        CHECK_EQ(kp_last_error()->tid, nobodies[i]);
        CHECK(nobodies[i] != NOBODY || kp_last_error()->code == KP_E_NO_PROCESS);
        CHECK(session == NULL);
    }
    CHECK_EQ(open_descriptors(), before);
}

TEST(refused_cpu_that_is_none)
{
    int32_t cpus[] = {0, 5000};
    struct kp_event event = software(KP_SW_DUMMY);
    event.flags = KP_EVENT_EXCLUDE_KERNEL | KP_EVENT_EXCLUDE_HV;
    event.cpus = cpus;
    event.n_cpus = 2;
    CHECK(refused(&event, 1, 0) < 0);
    CHECK_EQ(kp_last_error()->event, 0);
    CHECK_EQ(kp_last_error()->cpu, 5000);
}

/* ---- without privilege ---- */

static void fall_back(void *unused)
{
    struct kp_event events[] = {software(SW_PAGE_FAULTS), software(SW_CONTEXT_SWITCHES),
                                stores_to(&word)};
    struct kp_event_status status;
    (void)unused;
    events[1].flags = KP_EVENT_KERNEL_ONLY;
    for (uint32_t i = 0; i < 3; i++)
        events[i].leader = i;
    CHECK_EQ(refused(events, 3, 0), KP_E_PERMISSION);
    CHECK_EQ(kp_last_error()->event, 0);
    CHECK_EQ(kp_last_error()->tid, own_tid());
    struct kp_session *session = open_own(events, 3, KP_USER_FALLBACK);
    CHECK_OK(kp_session_event_status(session, 0, &status));
    CHECK(status.supported && status.user_only);
    CHECK_OK(kp_session_event_status(session, 1, &status));
    CHECK(!status.supported && status.sys_errno == EACCES);
    CHECK_OK(kp_session_event_status(session, 2, &status));
    CHECK(status.supported && !status.user_only); /* nothing of it was given up */
    CHECK_OK(kp_session_enable(session));
    touch_pages(30);
    store(&word, 6);
    struct kp_counts *counts = read_all(session);
    CHECK(sum_of(counts, 0) >= 30);
    CHECK_EQ(counts->state[1], KP_NOT_SUPPORTED);
    CHECK_EQ(sum_of(counts, 2), 6);
    kp_counts_destroy(counts);
    kp_session_destroy(session);
    CHECK_EQ(refused(&(struct kp_event){.type = KP_TYPE_SOFTWARE,
                                        .config = SW_CONTEXT_SWITCHES,
                                        .flags = KP_EVENT_KERNEL_ONLY},
                     1, KP_USER_FALLBACK),
             KP_E_PERMISSION);
    CHECK_EQ(kp_last_error()->sys_errno, EACCES);
    CHECK_EQ(kp_last_error()->event, 0);
}

TEST(refused_kernel_falls_back_to_user_space)
{
    need_paranoid_2();
    as_user(fall_back, NULL);
}

static void open_what_is_not_ours(void *pid)
{
    struct kp_event event = user_software(SW_PAGE_FAULTS);
    struct kp_target target = process(pid);
    struct kp_session *session = NULL;
    int before = open_descriptors();
    CHECK_EQ(kp_session_create(&event, 1, &target, KP_INHERIT, &session), KP_E_PERMISSION);
    CHECK_EQ(kp_last_error()->tid, *(int32_t *)pid);
    target = everybody();
    event.cpus = (int32_t[]){0};
    event.n_cpus = 1;
    CHECK_EQ(kp_session_create(&event, 1, &target, 0, &session), KP_E_PERMISSION);
    CHECK_EQ(kp_last_error()->cpu, 0);
    CHECK_EQ(open_descriptors(), before);
}

TEST(refused_what_is_not_ours)
{
    int32_t root_process = getpid();
    need_privilege();
    need_paranoid_2();
    as_user(open_what_is_not_ours, &root_process);
}
