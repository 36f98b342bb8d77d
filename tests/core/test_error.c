/* SPDX-License-Identifier: Apache-2.0
 * The last error: what it says, and to whom. */
#include "check.h"
#include "error.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

TEST(error_version)
{
    CHECK_EQ(strcmp(kp_version(), "test"), 0);
}

TEST(error_of_no_place)
{
    CHECK_EQ(kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %d things", 3), KP_E_NOMEM);
    const struct kp_error *error = kp_last_error();
    CHECK_EQ(error->code, KP_E_NOMEM);
    CHECK_EQ(error->sys_errno, ENOMEM);
    CHECK_EQ(strcmp(error->message, "no memory for 3 things"), 0);
    CHECK(error->event == -1 && error->cpu == -1 && error->tid == -1);
    CHECK(error->needed == 0 && error->limit == 0);
}

TEST(error_at_a_place)
{
    kp_fail_budget(KP_E_FILES, EMFILE, 7, 5, "budget");
    CHECK(kp_last_error()->needed == 7 && kp_last_error()->limit == 5);
    kp_fail_at(KP_E_CPU, ENOENT, 2, 3, 4, "place");
    const struct kp_error *error = kp_last_error();
    CHECK(error->event == 2 && error->cpu == 3 && error->tid == 4);
    CHECK(error->needed == 0 && error->limit == 0); /* of the error before */
}

TEST(error_cut_to_its_room)
{
    char long_text[1000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    kp_fail(KP_E_SYSTEM, 0, "%s", long_text);
    CHECK_EQ(strlen(kp_last_error()->message), sizeof(kp_last_error()->message) - 1);
}

static void *fail_elsewhere(void *seen)
{
    *(int32_t *)seen = kp_last_error()->code;
    kp_fail(KP_E_BUSY, EBUSY, "elsewhere");
    return NULL;
}

TEST(error_of_one_thread)
{
    pthread_t thread;
    int32_t seen = -1;
    kp_fail(KP_E_EVENT, EINVAL, "here");
    CHECK_EQ(pthread_create(&thread, NULL, fail_elsewhere, &seen), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(seen, KP_OK);
    CHECK_EQ(kp_last_error()->code, KP_E_EVENT);
    CHECK_EQ(strcmp(kp_last_error()->message, "here"), 0);
}
