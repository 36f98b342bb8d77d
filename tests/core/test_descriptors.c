/* SPDX-License-Identifier: Apache-2.0
 * File descriptors: none is lost, the low ones stay the host's, limits are raised or told. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

TEST(descriptors_after_ten_thousand_sessions)
{
    struct kp_event event = user_software(SW_PAGE_FAULTS);
    int times = repeat(10000), before = open_descriptors();
    for (int i = 0; i < times; i++) {
        struct kp_session *session = open_own(&event, 1, KP_INHERIT);
        if (i % 100 == 0) {
            CHECK_OK(kp_session_enable(session));
            kp_counts_destroy(read_all(session));
        }
        kp_session_destroy(session);
        if (i % 100 == 0)
            CHECK_EQ(open_descriptors(), before);
    }
    CHECK_EQ(open_descriptors(), before);
}

enum { FIRST_HIGH = 1024 };

static int low_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < FIRST_HIGH; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Those that a program executed by the host would get. */
static int passed_on(void)
{
    int n = 0;
    for (int fd = 0; fd < 4 * FIRST_HIGH; fd++) {
        int flags = fcntl(fd, F_GETFD);
        n += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return n;
}

/* select() of the host program needs the low ones. */
TEST(descriptors_below_1024_are_the_hosts)
{
    enum { MANY = 1200 };
    static struct kp_event events[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        events[i] = software(KP_SW_DUMMY);
        events[i].leader = i;
    }
    int before = low_descriptors(), all_before = open_descriptors(), passed_before = passed_on();
    struct kp_session *session = open_own(events, MANY, 0);
    CHECK(low_descriptors() - before <= 260);
    CHECK_EQ(open_descriptors() - all_before, MANY);
    CHECK_EQ(passed_on(), passed_before);
    kp_session_destroy(session);
    CHECK_EQ(open_descriptors(), all_before);
}

static void set_limit(rlim_t soft, rlim_t hard)
{
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void open_beyond_the_limit(void *unused)
{
    enum { MANY = 100, LIMIT = 64 };
    static struct kp_event events[MANY];
    (void)unused;
    for (uint32_t i = 0; i < MANY; i++) {
        events[i] = user_software(KP_SW_DUMMY);
        events[i].leader = i;
    }
    set_limit(LIMIT, LIMIT);
    CHECK_EQ(refused(events, MANY, 0), KP_E_FILES);
    CHECK_EQ(kp_last_error()->sys_errno, EMFILE);
    CHECK_EQ(kp_last_error()->limit, LIMIT);
    CHECK(kp_last_error()->needed > MANY && kp_last_error()->needed < 2 * MANY);
    CHECK_EQ(kp_last_error()->event, -1);
    kp_session_destroy(open_own(events, MANY / 5, 0));
}

TEST(descriptors_beyond_the_limit)
{
    as_user(open_beyond_the_limit, NULL);
}

static void open_up_to_the_hard_limit(void *unused)
{
    enum { MANY = 100 };
    static struct kp_event events[MANY];
    (void)unused;
    for (uint32_t i = 0; i < MANY; i++) {
        events[i] = user_software(KP_SW_DUMMY);
        events[i].leader = i;
    }
    set_limit(32, 400);
    kp_session_destroy(open_own(events, MANY, 0));
}

TEST(descriptors_up_to_the_hard_limit)
{
    as_user(open_up_to_the_hard_limit, NULL);
    CHECK_EQ(in_child(open_up_to_the_hard_limit, NULL), 0);
}
