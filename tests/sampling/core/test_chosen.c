/* SPDX-License-Identifier: Apache-2.0
 * The samples of some processes, chosen from those of everybody: whatever order the records of a
 * birth, of an end and of the samples come in, as each CPU's ring is emptied by itself. */
#include "check.h"
#include "chosen.h"
#include "intake.h"

#include <string.h>
#include <unistd.h>

enum { ID = 42, WANTED = 1000001, CHILD = 1000002, GRANDCHILD = 1000003, OTHER = 1000004 };

/* ---- by itself ---- */

static struct kp_chosen *choose(int32_t pid, int32_t tid, int inherits)
{
    struct kp_chosen *chosen;
    struct kp_target target = {
        .pids = &pid, .tids = &tid, .n_pids = pid != 0, .n_tids = tid != 0, .cgroup_fd = -1};
    CHECK_OK(kp_chosen_create(&target, inherits, &chosen));
    return chosen;
}

static void birth(struct kp_chosen *chosen, int32_t pid, int32_t tid, int32_t ppid, int32_t ptid)
{
    struct kp_side side = {
        .kind = KP_SIDE_FORK, .pid = pid, .tid = tid, .ppid = ppid, .ptid = ptid};
    CHECK_OK(kp_chosen_learn(chosen, &side));
}

static void end(struct kp_chosen *chosen, int32_t pid, int32_t tid)
{
    struct kp_side side = {.kind = KP_SIDE_EXIT, .pid = pid, .tid = tid};
    CHECK_OK(kp_chosen_learn(chosen, &side));
}

TEST(children_are_wanted_and_strangers_are_not)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    CHECK_EQ(kp_chosen_of(chosen, WANTED, WANTED + 50), KP_CHOICE_WANTED); /* any thread */
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_UNKNOWN);
    CHECK_EQ(kp_chosen_of(chosen, 0, 0), KP_CHOICE_OTHER); /* an idle CPU */
    CHECK_EQ(kp_chosen_of(chosen, -1, -1), KP_CHOICE_OTHER);
    birth(chosen, CHILD, CHILD, WANTED, WANTED + 50);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_WANTED);
    CHECK_OK(kp_chosen_list_others(chosen));
    CHECK_EQ(kp_chosen_of(chosen, getpid(), getpid()), KP_CHOICE_OTHER);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_WANTED);
    birth(chosen, OTHER, OTHER, getpid(), getpid());
    CHECK_EQ(kp_chosen_of(chosen, OTHER, OTHER), KP_CHOICE_OTHER);
    kp_chosen_destroy(chosen);
}

TEST(a_grandchild_is_recorded_before_its_parent)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    birth(chosen, GRANDCHILD, GRANDCHILD, CHILD, CHILD);
    CHECK_EQ(kp_chosen_of(chosen, GRANDCHILD, GRANDCHILD), KP_CHOICE_UNKNOWN);
    birth(chosen, CHILD, CHILD, WANTED, WANTED);
    CHECK_EQ(kp_chosen_of(chosen, GRANDCHILD, GRANDCHILD), KP_CHOICE_WANTED);
    kp_chosen_destroy(chosen);
}

TEST(a_number_may_have_another_holder)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    birth(chosen, CHILD, CHILD, WANTED, WANTED);
    end(chosen, CHILD, CHILD + 7); /* a thread of it */
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_WANTED);
    end(chosen, CHILD, CHILD);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_UNKNOWN);
    CHECK_EQ(kp_chosen_at_last(chosen, CHILD, CHILD), KP_CHOICE_WANTED);
    CHECK_OK(kp_chosen_list_others(chosen));
    birth(chosen, CHILD, CHILD, getpid(), getpid());
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_OTHER);
    kp_chosen_destroy(chosen);
}

TEST(threads_are_chosen_one_by_one)
{
    struct kp_chosen *chosen = choose(0, WANTED, 1);
    CHECK_EQ(kp_chosen_of(chosen, WANTED, WANTED), KP_CHOICE_WANTED);
    CHECK_EQ(kp_chosen_of(chosen, WANTED, WANTED + 50), KP_CHOICE_UNKNOWN);
    birth(chosen, WANTED, WANTED + 50, WANTED, WANTED);
    CHECK_EQ(kp_chosen_of(chosen, WANTED, WANTED + 50), KP_CHOICE_WANTED);
    CHECK_OK(kp_chosen_list_others(chosen));
    CHECK_EQ(kp_chosen_of(chosen, getpid(), getpid()), KP_CHOICE_OTHER);
    kp_chosen_destroy(chosen);
}

TEST(nobody_is_born_wanted_where_nothing_is_passed_on)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 0);
    birth(chosen, CHILD, CHILD, WANTED, WANTED);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_OTHER);
    kp_chosen_destroy(chosen);
}

TEST(parents_that_go_in_a_circle_end)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    birth(chosen, CHILD, CHILD, GRANDCHILD, GRANDCHILD);
    birth(chosen, GRANDCHILD, GRANDCHILD, CHILD, CHILD);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_OTHER);
    kp_chosen_destroy(chosen);
}

TEST(thousands_are_born)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    for (int32_t i = 0; i < 5000; i++)
        birth(chosen, OTHER + i, OTHER + i, i % 2 == 0 ? WANTED : 3, 3);
    birth(chosen, 3, 3, 2, 2);
    birth(chosen, 2, 2, WANTED, WANTED);
    for (int32_t i = 0; i < 5000; i++)
        CHECK_EQ(kp_chosen_of(chosen, OTHER + i, OTHER + i), KP_CHOICE_WANTED);
    kp_chosen_destroy(chosen);
}

TEST(who_has_ended_is_forgotten_after_two_reads)
{
    struct kp_chosen *chosen = choose(WANTED, 0, 1);
    enum { MANY = 2000 };
    for (int32_t i = 0; i < MANY; i++) {
        birth(chosen, OTHER + i, OTHER + i, CHILD, CHILD);
        end(chosen, OTHER + i, OTHER + i);
    }
    birth(chosen, OTHER + MANY, OTHER + MANY, OTHER, OTHER); /* a child that outlives it */
    birth(chosen, CHILD, CHILD, WANTED, WANTED);
    kp_chosen_settle(chosen);
    CHECK_EQ(kp_chosen_at_last(chosen, OTHER + 1, OTHER + 1), KP_CHOICE_WANTED);
    kp_chosen_settle(chosen);
    CHECK_EQ(kp_chosen_at_last(chosen, OTHER + 1, OTHER + 1), KP_CHOICE_UNKNOWN);
    CHECK_EQ(kp_chosen_of(chosen, OTHER + MANY, OTHER + MANY), KP_CHOICE_WANTED);
    CHECK_EQ(kp_chosen_of(chosen, CHILD, CHILD), KP_CHOICE_WANTED);
    CHECK_EQ(kp_chosen_of(chosen, WANTED, WANTED), KP_CHOICE_WANTED);
    for (int32_t i = 0; i < MANY; i++) /* and there is room for others */
        birth(chosen, OTHER + i, OTHER + i, CHILD, CHILD);
    CHECK_EQ(kp_chosen_of(chosen, OTHER + 1, OTHER + 1), KP_CHOICE_WANTED);
    kp_chosen_destroy(chosen);
}

/* ---- in the intake ---- */

static void start(struct kp_intake *intake)
{
    static const struct kp_event event = {.period = 1};
    struct kp_sampling sampling = {.store_bytes = 1 << 20};
    CHECK_OK(kp_intake_create(intake, &event, 1, &sampling));
    CHECK_OK(kp_intake_know(intake, ID, 0));
    CHECK_OK(kp_intake_choose(intake, choose(WANTED, 0, 1)));
}

static void take_sample(struct kp_intake *intake, int32_t pid)
{
    struct {
        struct kp_record_header header;
        uint64_t id, ip;
        int32_t pid, tid;
        uint64_t time;
        uint32_t cpu, reserved;
    } record = {.header = {.type = KP_RECORD_SAMPLE, .size = sizeof(record)},
                .id = ID,
                .pid = pid,
                .tid = pid};
    kp_intake_take(intake, (uint8_t *)&record, sizeof(record));
}

static void take_birth(struct kp_intake *intake, int32_t pid, int32_t ppid)
{
    struct {
        struct kp_record_header header;
        uint32_t pid, ppid, tid, ptid;
        uint64_t time;
        struct kp_record_end end;
    } record = {.header = {.type = KP_RECORD_FORK, .size = sizeof(record)},
                .pid = (uint32_t)pid,
                .ppid = (uint32_t)ppid,
                .tid = (uint32_t)pid,
                .ptid = (uint32_t)ppid};
    kp_intake_take(intake, (uint8_t *)&record, sizeof(record));
}

TEST(a_sample_waits_for_the_birth_of_its_process)
{
    struct kp_intake intake;
    start(&intake);
    take_sample(&intake, WANTED);
    take_sample(&intake, CHILD);
    take_sample(&intake, OTHER);
    CHECK_EQ(intake.taken.loss[0].samples, 1);
    take_birth(&intake, CHILD, WANTED);
    take_birth(&intake, OTHER, 0x7fffffff);
    take_sample(&intake, CHILD);
    kp_intake_settle(&intake);
    CHECK_EQ(intake.taken.loss[0].samples, 3);
    CHECK_EQ(intake.taken.store.len, 3);
    kp_intake_destroy(&intake);
}

TEST(it_waits_for_one_read_more_and_no_longer)
{
    struct kp_intake intake;
    start(&intake);
    take_sample(&intake, CHILD);
    kp_intake_settle(&intake);
    take_sample(&intake, OTHER);
    take_birth(&intake, CHILD, WANTED);
    kp_intake_settle(&intake);
    CHECK_EQ(intake.taken.loss[0].samples, 1);
    kp_intake_settle(&intake); /* nobody told of the other one */
    CHECK_EQ(intake.waiting_used, 0);
    take_birth(&intake, OTHER, WANTED);
    kp_intake_settle(&intake);
    CHECK_EQ(intake.taken.loss[0].samples, 1);
    kp_intake_destroy(&intake);
}
