/* SPDX-License-Identifier: Apache-2.0
 * The pairing of system calls, by a kernel of our own: threads that move between CPUs, fork, exec,
 * end and have their numbers used again, rings that run full, CPUs that are held up while they
 * write, and all of it going on while the rings are read. What it did is written down, and every
 * call that is reported must have happened so. */
#include "check.h"
#include "rounds.h"
#include "syscalls.h"

#include <string.h>

enum {
    N_CPUS = 3,
    N_THREADS = 12,
    RING = 1 << 15, /* two of the greatest records beside what is read at once */
    PAGE = 4096,
    HEAD = 1024,
    TAIL = 1032,
    MOST_CALLS = 1 << 18
};

enum {
    NR_READ = 0,
    NR_SIGRETURN = 15,
    NR_SLEEP = 35,
    NR_CLONE = 56,
    NR_EXECVE = 59,
    NR_RESTART = 219
};
enum { RESTART_BLOCK = -516, INTERRUPTED = -4 };

/* ---- what is written into the rings ---- */

enum kind { ENTER, EXIT, FORK, END, EXEC, LOST };

/* As a record: a header, then what the kernel's sample of that kind would hold. */
struct record {
    struct kp_record_header header;
    int32_t pid, tid;
    uint64_t time;
    uint64_t kind;
    int64_t number, ret;
    int32_t other, other_pid; /* FORK: the parent; EXEC: the number it had */
    uint8_t padding[40];      /* so that beginnings take more room than ends */
};

enum { SHORT_RECORD = sizeof(struct record) - 40 };

struct cpu {
    struct kp_ring ring;
    uint8_t memory[PAGE + RING];
    uint64_t head; /* what its memory shows, or is about to */
    uint64_t lost; /* not told yet */
    int held_up;   /* it has room reserved for this record, and did not get to write it */
    int thread;    /* who waits for that */
    struct record record;
};

/* ---- what really happened ---- */

struct truth {
    uint64_t start, end;
    int64_t ret;
    int32_t tid;
    uint32_t number;
    int reported;
};

struct sim_thread {
    int alive, inside, waits, resumes;
    int32_t pid, tid, cpu;
    uint32_t number;
    size_t call; /* in truths */
    uint64_t suspended_at;
};

static struct sim {
    uint64_t random, clock;
    struct cpu cpus[N_CPUS];
    struct sim_thread threads[N_THREADS];
    struct truth truths[MOST_CALLS];
    size_t n_truths;
    uint64_t written, lost;
    int hidden;  /* the ends of the rings are being looked at, one after the other */
    int busy;    /* does things while the rings are read */
    int roomy;   /* reads often enough that nothing is lost */
    int wrongly; /* see the test of the test */
    struct kp_pairs *pairs;
    struct kp_rounds *rounds;
} sim;

static uint32_t dice(uint32_t sides)
{
    sim.random = sim.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(sim.random >> 33) % sides;
}

static uint64_t *word(struct cpu *cpu, size_t at)
{
    return (uint64_t *)(cpu->memory + at);
}

static void show(struct cpu *cpu)
{
    *word(cpu, HEAD) = cpu->head;
}

static int write_now(struct cpu *cpu, const void *bytes, size_t size)
{
    uint64_t head = cpu->head;
    if (head + size - *word(cpu, TAIL) > RING)
        return -1;
    for (size_t i = 0; i < size; i++)
        cpu->memory[PAGE + ((head + i) & (RING - 1))] = ((const uint8_t *)bytes)[i];
    cpu->head = head + size;
    if (!sim.hidden)
        show(cpu);
    return 0;
}

static void commit(struct cpu *cpu, const struct record *record)
{
    if (cpu->lost > 0) {
        struct kp_record_lost lost = {.header = {.type = KP_RECORD_LOST, .size = sizeof(lost)},
                                      .lost = cpu->lost};
        if (write_now(cpu, &lost, sizeof(lost)) == 0)
            cpu->lost = 0;
    }
    if (cpu->lost > 0 || write_now(cpu, record, record->header.size) != 0) {
        cpu->lost++;
        sim.lost++;
    }
    sim.written++;
}

/* A thread's record gets its time now; now and then its CPU is held up before it is written. */
static void record(struct sim_thread *thread, struct record record)
{
    struct cpu *cpu = &sim.cpus[thread->cpu];
    record.header.type = KP_RECORD_SAMPLE;
    record.header.size = record.kind == ENTER ? sizeof(record) : SHORT_RECORD;
    record.pid = thread->pid;
    record.tid = thread->tid;
    record.time = ++sim.clock;
    if (dice(20) == 0) {
        cpu->held_up = 1;
        cpu->thread = (int)(thread - sim.threads);
        cpu->record = record;
        thread->waits = 1;
        return;
    }
    commit(cpu, &record);
}

static void let_go(struct cpu *cpu)
{
    cpu->held_up = 0;
    sim.threads[cpu->thread].waits = 0;
    commit(cpu, &cpu->record);
}

/* ---- what threads do ---- */

static void enter(struct sim_thread *thread, uint32_t number)
{
    CHECK(sim.n_truths < MOST_CALLS);
    thread->inside = 1;
    thread->number = number;
    thread->call = sim.n_truths++;
    record(thread, (struct record){.kind = ENTER, .number = number});
    sim.truths[thread->call] =
        (struct truth){.start = sim.clock, .tid = thread->tid, .number = number};
}

static void leave(struct sim_thread *thread, int64_t number, int64_t ret)
{
    struct truth *truth = &sim.truths[thread->call];
    thread->inside = 0;
    record(thread, (struct record){.kind = EXIT, .number = number, .ret = ret});
    truth->end = sim.clock;
    truth->ret = ret;
    truth->tid = thread->tid;
    if (ret == RESTART_BLOCK) {
        truth->ret = INTERRUPTED; /* if nothing resumes it */
        thread->resumes = 1;
    }
}

static void fork_one(struct sim_thread *parent)
{
    for (int i = 0; i < N_THREADS; i++) {
        struct sim_thread *child = &sim.threads[i];
        if (child->alive || child->waits)
            continue;
        /* A few numbers only, so that they come again soon. */
        int32_t tid = 100 + i;
        record(parent, (struct record){
                           .kind = FORK, .other = tid, .other_pid = dice(2) ? parent->pid : tid});
        if (parent->waits) /* the birth must be told before the child runs */
            let_go(&sim.cpus[parent->cpu]);
        *child = (struct sim_thread){.alive = 1, .tid = tid, .cpu = (int32_t)dice(N_CPUS)};
        child->pid = parent->pid;
        if (sim.cpus[child->cpu].held_up)
            let_go(&sim.cpus[child->cpu]);
        record(child, (struct record){.kind = EXIT, .number = NR_CLONE, .ret = 0});
        return;
    }
}

static void end(struct sim_thread *thread)
{
    record(thread, (struct record){.kind = END});
    if (thread->waits)
        let_go(&sim.cpus[thread->cpu]);
    thread->alive = 0;
}

static void resume(struct sim_thread *thread)
{
    thread->resumes = 0;
    thread->inside = 1;
    record(thread, (struct record){.kind = ENTER, .number = NR_RESTART});
    sim.truths[thread->call].end = 0;
}

/* From a thread that does not lead: it goes on under its leader's number, which ended before. */
static void exec(struct sim_thread *thread)
{
    int32_t old = thread->tid;
    struct sim_thread *leader = &sim.threads[0];
    if (thread == leader || leader->waits || sim.cpus[leader->cpu].held_up)
        return;
    enter(thread, NR_EXECVE);
    if (thread->waits)
        let_go(&sim.cpus[thread->cpu]);
    end(leader);
    *leader = *thread;
    thread->alive = 0;
    leader->tid = leader->pid = 100;
    record(leader, (struct record){.kind = EXEC, .other = old});
    if (leader->waits)
        let_go(&sim.cpus[leader->cpu]);
    leave(leader, NR_EXECVE, 0);
}

static void act_inside(struct sim_thread *thread)
{
    if (dice(400) == 0 && thread != &sim.threads[0])
        end(thread);
    else if (thread->number == NR_SIGRETURN)
        leave(thread, -1, 0);
    else if (thread->number == NR_SLEEP && dice(3) == 0)
        leave(thread, thread->resumes ? NR_RESTART : NR_SLEEP, RESTART_BLOCK);
    else
        leave(thread, thread->number, (int64_t)dice(8) - 4);
}

static void act(void)
{
    static const uint32_t numbers[] = {NR_READ, NR_READ, NR_READ, NR_SLEEP, NR_SIGRETURN};
    struct sim_thread *thread = &sim.threads[dice(N_THREADS)];
    struct cpu *cpu = &sim.cpus[dice(N_CPUS)];
    if (cpu->held_up && dice(4) == 0)
        let_go(cpu);
    if (!thread->alive || thread->waits)
        return;
    if (dice(4) == 0)
        thread->cpu = (int32_t)dice(N_CPUS); /* it was asleep, and woke up elsewhere */
    if (sim.cpus[thread->cpu].held_up)
        return;
    uint32_t what = dice(100);
    if (thread->inside)
        act_inside(thread);
    else if (thread->resumes && what < 50)
        resume(thread);
    else if (what < 4)
        fork_one(thread);
    else if (what < 5 && thread != &sim.threads[0])
        end(thread);
    else if (what < 6)
        exec(thread);
    else {
        thread->resumes = 0;
        enter(thread, numbers[dice(sizeof(numbers) / sizeof(numbers[0]))]);
    }
}

static void act_meanwhile(void)
{
    for (uint32_t i = sim.busy && dice(4) == 0 ? dice(4) : 0; i > 0; i--)
        act();
}

/* ---- how they are taken ---- */

static void show_all(void)
{
    sim.hidden = 0;
    for (int i = 0; i < N_CPUS; i++)
        show(&sim.cpus[i]);
}

static void take(void *context, size_t ring, uint64_t time, const uint8_t *bytes, size_t size)
{
    struct record record = {0};
    (void)context;
    (void)time;
    show_all();
    memcpy(&record, bytes, size < sizeof(record) ? size : sizeof(record));
    if (record.header.type == KP_RECORD_LOST) {
        struct kp_record_lost lost;
        memcpy(&lost, bytes, sizeof(lost));
        kp_pairs_lost(sim.pairs, lost.lost);
    } else if (record.kind == ENTER) {
        kp_pairs_enter(sim.pairs, record.time, record.pid, record.tid, record.number);
    } else if (record.kind == EXIT) {
        kp_pairs_exit(sim.pairs, record.time, record.pid, record.tid, (int32_t)ring, record.number,
                      record.ret);
    } else if (record.kind == FORK) {
        kp_pairs_fork(sim.pairs, record.other_pid, record.other, record.pid, record.tid);
    } else if (record.kind == END) {
        kp_pairs_end(sim.pairs, record.tid);
    } else {
        kp_pairs_exec(sim.pairs, record.pid, record.tid, record.other, 0);
    }
    act_meanwhile();
}

static void distrust(void *context)
{
    (void)context;
    if (!sim.wrongly)
        kp_pairs_distrust(sim.pairs);
}

static void trust_from(void *context, uint64_t time)
{
    (void)context;
    if (!sim.wrongly)
        kp_pairs_trust_from(sim.pairs, time);
}

/* What happens between the looks at two rings' ends is seen in the second one alone. */
static uint64_t now(void *context)
{
    (void)context;
    uint64_t time = ++sim.clock;
    sim.hidden = 1;
    for (int i = 0; i < N_CPUS; i++) {
        show(&sim.cpus[i]);
        act_meanwhile();
    }
    return time;
}

static const struct kp_rounds_taker taker = {
    .take = take, .distrust = distrust, .trust_from = trust_from, .now = now};

static void read_rings(void)
{
    struct kp_ring rings[N_CPUS];
    for (int i = 0; i < N_CPUS; i++)
        rings[i] = sim.cpus[i].ring;
    kp_rounds_drain(sim.rounds, rings);
    show_all();
}

/* ---- the tests ---- */

static void start(uint64_t seed)
{
    static const struct kp_call_options options = {
        .restart = NR_RESTART, .sigreturn = NR_SIGRETURN, .with_list = 1, .list_bytes = 1 << 26};
    memset(&sim, 0, sizeof(sim));
    sim.random = seed;
    for (int i = 0; i < N_CPUS; i++)
        sim.cpus[i].ring =
            (struct kp_ring){.base = sim.cpus[i].memory, .size = RING, .page = PAGE, .fd = -1};
    for (int i = 0; i < N_THREADS / 2; i++)
        sim.threads[i] = (struct sim_thread){.alive = 1, .pid = 100, .tid = 100 + i};
    CHECK_OK(kp_pairs_create(&options, NULL, &sim.pairs));
    CHECK_OK(kp_rounds_create(N_CPUS, &taker, &sim.rounds));
    kp_pairs_open(sim.pairs, 0);
}

static void run(int actions)
{
    for (int i = 0; i < actions; i++) {
        act();
        if (dice(sim.roomy ? 50 : 2000) == 0)
            read_rings();
    }
    sim.busy = 0;
    for (int i = 0; i < N_CPUS; i++)
        if (sim.cpus[i].held_up)
            let_go(&sim.cpus[i]);
    read_rings();
}

static struct truth *truth_of(uint64_t start)
{
    size_t low = 0, high = sim.n_truths;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sim.truths[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sim.n_truths && sim.truths[low].start == start ? &sim.truths[low] : NULL;
}

/* How many of the reported calls did not happen so. */
static uint64_t count_wrong(const struct kp_calls *calls)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < calls->len; i++) {
        struct truth *truth = truth_of(calls->start[i]);
        int right = truth != NULL && !truth->reported && truth->end != 0 &&
                    truth->end - truth->start == calls->elapsed[i] && truth->ret == calls->ret[i] &&
                    truth->tid == calls->tid[i] &&
                    truth->number == calls->numbers[calls->which[i]].number;
        wrong += !right;
        if (truth != NULL)
            truth->reported = 1;
    }
    return wrong;
}

struct outcome {
    uint64_t wrong, reported, returned, dropped, unfinished, lost_told;
};

static struct outcome finish(void)
{
    struct kp_calls *calls;
    struct kp_call_summary *summary;
    struct outcome outcome = {0};
    kp_pairs_until(sim.pairs, sim.clock + 1);
    kp_pairs_close(sim.pairs);
    CHECK_OK(kp_pairs_read_calls(sim.pairs, &calls));
    CHECK_OK(kp_pairs_read_summary(sim.pairs, &summary));
    outcome.wrong = count_wrong(calls);
    outcome.reported = calls->len;
    outcome.dropped = summary->loss.dropped;
    outcome.lost_told = summary->loss.lost;
    for (size_t i = 0; i < summary->n_rows; i++) {
        outcome.unfinished += summary->rows[i].unfinished;
        CHECK(sim.wrongly || summary->rows[i].begun_before == 0);
    }
    for (size_t i = 0; i < sim.n_truths; i++)
        outcome.returned += sim.truths[i].end != 0;
    kp_calls_destroy(calls);
    kp_call_summary_destroy(summary);
    kp_rounds_destroy(sim.rounds);
    kp_pairs_destroy(sim.pairs);
    return outcome;
}

/* Without loss, calls are reported one and all: those that are not had no end. */
TEST(pairs_are_all_there_without_loss)
{
    for (int seed = 1; seed <= repeat(40); seed++) {
        start((uint64_t)seed);
        sim.roomy = sim.busy = 1;
        run(5000);
        struct outcome outcome = finish();
        CHECK_EQ(sim.lost, 0);
        CHECK_EQ(outcome.wrong, 0);
        CHECK_EQ(outcome.dropped, 0);
        CHECK_EQ(outcome.reported + outcome.unfinished, sim.n_truths);
        CHECK(outcome.reported > 1000);
    }
}

TEST(pairs_are_never_wrong_with_loss)
{
    uint64_t lost = 0, reported = 0, returned = 0;
    for (int seed = 1; seed <= repeat(100); seed++) {
        start((uint64_t)seed);
        sim.busy = seed % 2;
        run(40000);
        struct outcome outcome = finish();
        CHECK_EQ(outcome.wrong, 0);
        CHECK(sim.lost == 0 || outcome.dropped > 0);
        CHECK(outcome.reported <= outcome.returned);
        lost += sim.lost;
        reported += outcome.reported;
        returned += outcome.returned;
    }
    CHECK(lost > 0);
    CHECK(reported > returned / 10); /* and something is left */
}

/* The test of the test: whoever trusts a ring that ran full reports calls that never were. */
TEST(pairs_would_be_wrong_without_distrust)
{
    uint64_t wrong = 0;
    for (int seed = 1; seed <= 20; seed++) {
        start((uint64_t)seed);
        sim.wrongly = 1;
        run(40000);
        wrong += finish().wrong;
    }
    CHECK(wrong > 0);
}
