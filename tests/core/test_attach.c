/* SPDX-License-Identifier: Apache-2.0
 * Attaching to a process that makes and ends threads without pause (churn.c): what it did is
 * counted exactly, whatever was being born when we attached. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_EVENTS = 12 };

/* ---- the process to attach to ---- */

struct churn {
    pid_t pid;
    int to, from;
    void *address; /* in the other process */
};

struct plan {
    const char *makers, *pause_us, *kept;
};

static uint64_t hear(const struct churn *churn)
{
    char text[64];
    ssize_t n = read(churn->from, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    return strtoull(text, NULL, 0);
}

static struct churn start_churn(const struct plan *plan)
{
    int to[2], from[2];
    const char *program = getenv("KPERF_TEST_CHURN");
    CHECK(program != NULL);
    CHECK_EQ(pipe2(to, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(from, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {"churn", (char *)plan->makers, (char *)plan->pause_us,
                              (char *)plan->kept, NULL};
        char *const envp[] = {NULL};
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execve(program, argv, envp);
        _exit(127);
    }
    CHECK(pid > 0);
    close(to[0]);
    close(from[1]);
    struct churn churn = {.pid = pid, .to = to[1], .from = from[0]};
    churn.address = (void *)(uintptr_t)hear(&churn);
    return churn;
}

static void let_go(const struct churn *churn)
{
    CHECK_EQ(write(churn->to, "g", 1), 1);
}

static void stop_churn(const struct churn *churn)
{
    close(churn->to);
    close(churn->from);
    kill(churn->pid, SIGKILL);
    CHECK_EQ(waitpid(churn->pid, NULL, 0), churn->pid);
}

/* ---- what to count on it ---- */

struct load {
    struct kp_event events[MOST_EVENTS];
    int exact[MOST_EVENTS]; /* its count is known exactly */
    size_t n;
};

static void add_event(struct load *load, struct kp_event event, int exact, size_t leader)
{
    event.leader = (uint32_t)leader;
    load->exact[load->n] = exact;
    load->events[load->n++] = event;
}

static void one_event(struct load *load, void *address)
{
    add_event(load, stores_to(address), 1, 0);
}

static void several_events(struct load *load, void *address)
{
    add_event(load, stores_to(address), 1, 0);
    add_event(load, user_software(SW_PAGE_FAULTS), 0, 1);
    add_event(load, user_software(SW_TASK_CLOCK), 0, 2);
    add_event(load, user_software(KP_SW_DUMMY), 0, 3);
    add_event(load, stores_to(address), 1, 4);
}

static void groups(struct load *load, void *address)
{
    add_event(load, user_software(KP_SW_DUMMY), 0, 0);
    add_event(load, stores_to(address), 1, 0);
    add_event(load, user_software(SW_PAGE_FAULTS), 0, 0);
    add_event(load, stores_to(address), 1, 3);
    add_event(load, user_software(KP_SW_DUMMY), 0, 3);
}

static void tracepoints(struct load *load, void *address)
{
    struct kp_event writes = tracepoint("syscalls/sys_enter_write");
    add_event(load, writes, 1, 0);
    add_event(load, software(SW_CONTEXT_SWITCHES), 0, 0);
    add_event(load, writes, 1, 0);
    add_event(load, stores_to(address), 1, 3);
    add_event(load, writes, 1, 4);
}

/* ---- attaching over and over ---- */

struct soak {
    const char *what;
    void (*fill)(struct load *load, void *address);
    struct plan plan;
};

struct tally {
    int wrong, unsure, watched, rounds, reads;
};

static void add_counts(struct kp_session *session, const struct load *load, uint64_t *sums)
{
    struct kp_counts *counts = read_all(session);
    for (uint32_t i = 0; i < load->n; i++)
        sums[i] += sum_of(counts, i);
    kp_counts_destroy(counts);
}

/* Counts what the process does from now to its end. It is read all the while, as threads come and
 * go, and once more when it is gone: nothing may be lost between two reads. */
static uint64_t count_to_the_end(struct kp_session *session, const struct load *load,
                                 const struct churn *churn, uint64_t *sums, struct tally *tally)
{
    struct pollfd answer = {.fd = churn->from, .events = POLLIN};
    let_go(churn);
    do {
        add_counts(session, load, sums);
        tally->reads++;
    } while (poll(&answer, 1, 1) == 0);
    uint64_t expected = hear(churn);
    CHECK(expected > 0);
    stop_churn(churn);
    add_counts(session, load, sums);
    return expected;
}

static int check_sums(const struct soak *soak, const struct load *load, const uint64_t *sums,
                      uint64_t expected)
{
    int wrong = 0;
    for (size_t i = 0; i < load->n; i++)
        if (load->exact[i] && sums[i] != expected) {
            fprintf(stderr, "%s: event %zu: %lu counted of %lu\n", soak->what, i,
                    (unsigned long)sums[i], (unsigned long)expected);
            wrong = 1;
        }
    return wrong;
}

static int check_report(const struct soak *soak, const struct kp_attach_report *report)
{
    int unsure = report->uncertain > 0 || report->missed > 0 || report->lost > 0;
    if (unsure)
        fprintf(stderr, "%s: uncertain %u, missed %u, lost %u, rounds %u\n", soak->what,
                report->uncertain, report->missed, report->lost, report->rounds);
    return unsure;
}

static void attach_once(const struct soak *soak, struct tally *tally)
{
    struct churn churn = start_churn(&soak->plan);
    struct load load = {.n = 0};
    soak->fill(&load, churn.address);
    struct kp_target target = process(&churn.pid);
    struct kp_session *session;
    struct kp_attach_report report;
    uint64_t sums[MOST_EVENTS] = {0};
    CHECK_OK(kp_session_create(load.events, load.n, &target, KP_INHERIT, &session));
    CHECK_OK(kp_session_attach_report(session, &report));
    CHECK_OK(kp_session_enable(session));
    uint64_t expected = count_to_the_end(session, &load, &churn, sums, tally);
    int unsure = check_report(soak, &report);
    tally->wrong += check_sums(soak, &load, sums, expected) && !unsure;
    tally->unsure += unsure;
    tally->watched += (int)report.watched;
    tally->rounds += (int)report.rounds;
    kp_session_destroy(session);
}

static void attach_often(void *context)
{
    const struct soak *soak = context;
    struct tally tally = {.wrong = 0};
    int times = repeat(6);
    for (int i = 0; i < times; i++)
        attach_once(soak, &tally);
    printf("%s: %d times, %d watched, %d rounds, %d reads, %d unsure, %d wrong\n", soak->what,
           times, tally.watched, tally.rounds, tally.reads, tally.unsure, tally.wrong);
    CHECK_EQ(tally.wrong, 0);
    if (!slowed())
        CHECK_EQ(tally.unsure, 0);
}

static void attach_exactly(struct soak soak)
{
    attach_often(&soak);
}

static void attach_exactly_as_user(struct soak soak)
{
    need_paranoid_2();
    as_user(attach_often, &soak);
}

TEST(attach_one_event)
{
    attach_exactly((struct soak){"one event", one_event, {"3", "100", "40"}});
}

TEST(attach_one_event_at_full_speed)
{
    attach_exactly((struct soak){"one event, full speed", one_event, {"4", "0", "60"}});
}

TEST(attach_several_events)
{
    attach_exactly((struct soak){"several events", several_events, {"3", "100", "40"}});
}

TEST(attach_groups)
{
    attach_exactly((struct soak){"groups", groups, {"3", "100", "40"}});
}

TEST(attach_groups_of_slow_makers)
{
    attach_exactly((struct soak){"slow makers", groups, {"6", "1000", "40"}});
}

TEST(attach_tracepoints)
{
    need_privilege();
    tracepoint("syscalls/sys_enter_write");
    attach_exactly((struct soak){"tracepoints", tracepoints, {"3", "100", "40"}});
}

TEST(attach_one_event_as_user)
{
    attach_exactly_as_user((struct soak){"user, one event", one_event, {"3", "100", "40"}});
}

TEST(attach_several_events_as_user)
{
    attach_exactly_as_user((struct soak){"user, several", several_events, {"3", "100", "40"}});
}

TEST(attach_groups_as_user)
{
    attach_exactly_as_user((struct soak){"user, groups", groups, {"3", "100", "40"}});
}

/* Without inherit only the threads that there are count, so there is nothing to settle. */
TEST(attach_without_inherit)
{
    struct churn churn = start_churn(&(struct plan){"3", "100", "40"});
    struct kp_event event = stores_to(churn.address);
    struct kp_target target = process(&churn.pid);
    struct kp_session *session;
    struct kp_attach_report report;
    CHECK_OK(kp_session_create(&event, 1, &target, 0, &session));
    CHECK_OK(kp_session_attach_report(session, &report));
    CHECK_EQ(report.rounds, 1);
    CHECK_EQ(report.watched, 0);
    CHECK_OK(kp_session_enable(session));
    let_go(&churn);
    uint64_t all = hear(&churn);
    CHECK(read_sum(session, 0) <= all);
    kp_session_destroy(session);
    stop_churn(&churn);
}
