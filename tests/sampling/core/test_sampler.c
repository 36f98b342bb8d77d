/* SPDX-License-Identifier: Apache-2.0
 * Sampling for real, by the kernel's own clock: what comes out, what is lost and dropped, and what
 * stays behind. */
#include "check.h"
#include "drain.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SW_CPU_CLOCK = 0, MOST_CPUS = 1024, OWN_FLAGS = KP_INHERIT };

static int32_t all_cpus[MOST_CPUS];

/* The dummy that tells of processes, and a clock: what every profile is made of. */
struct pair {
    struct kp_event events[2];
};

static struct pair clock_events(uint64_t period)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    CHECK(n > 0 && n <= MOST_CPUS);
    for (int32_t cpu = 0; cpu < n; cpu++)
        all_cpus[cpu] = cpu;
    struct pair pair = {{software(KP_SW_DUMMY), software(SW_CPU_CLOCK)}};
    pair.events[0].flags = KP_EVENT_TRACKING;
    pair.events[1].period = period;
    pair.events[1].leader = 1;
    for (int i = 0; i < 2; i++) {
        pair.events[i].cpus = all_cpus;
        pair.events[i].n_cpus = (uint32_t)n;
    }
    return pair;
}

static struct kp_sampling usual(void)
{
    return (struct kp_sampling){
        .flags = KP_SAMPLING_CALLCHAIN, .ring_bytes = 1 << 19, .store_bytes = 1 << 24};
}

enum { PERIOD_NS = 250000 };

static struct kp_sampler *open_sampler(const struct kp_target *target,
                                       const struct kp_sampling *sampling, uint64_t period,
                                       uint32_t flags)
{
    struct pair pair = clock_events(period);
    struct kp_sampler *sampler = NULL;
    CHECK_OK(kp_sampler_create(pair.events, 2, target, sampling, flags, &sampler));
    return sampler;
}

static struct kp_samples *read_samples(struct kp_sampler *sampler)
{
    struct kp_samples *samples = NULL;
    CHECK_OK(kp_sampler_read(sampler, &samples));
    CHECK_EQ(samples->malformed, 0);
    return samples;
}

__attribute__((noinline)) static uint64_t busy(uint64_t rounds)
{
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < rounds; i++)
        sum += i * i;
    return sum;
}

enum { BUSY_ROUNDS = 20000000 };

static int own_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int n = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* pthread_join may return an instant before the kernel has taken the thread off its list. */
static void check_threads(int expected)
{
    for (int i = 0; i < 1000 && own_threads() != expected; i++)
        usleep(1000);
    CHECK_EQ(own_threads(), expected);
}

/* What must be so of any result. */
static void check_whole(const struct kp_samples *samples)
{
    uint64_t taken = 0;
    for (size_t event = 0; event < samples->n_events; event++)
        taken += samples->loss[event].samples;
    CHECK_EQ(taken, samples->len);
    for (size_t i = 0; i < samples->len; i++) {
        CHECK_EQ(samples->event[i], 1);
        CHECK(i == 0 || samples->time[i - 1] <= samples->time[i]);
        CHECK(samples->stack[i] < samples->n_stacks);
        CHECK(samples->comm[i] < samples->n_strings);
        CHECK(samples->period[i] > 0);
    }
    for (size_t node = 1; node < samples->n_stacks; node++) {
        CHECK(samples->stack_parent[node] < node);
        CHECK(samples->stack_frame[node] < samples->n_frames);
    }
}

static size_t samples_of(const struct kp_samples *samples, int32_t pid)
{
    size_t n = 0;
    for (size_t i = 0; i < samples->len; i++)
        n += samples->pid[i] == pid;
    return n;
}

static const char *innermost_path(const struct kp_samples *samples, size_t i)
{
    uint32_t mapping = samples->frame_mapping[samples->stack_frame[samples->stack[i]]] - 1;
    if (mapping >= samples->n_mappings)
        return "";
    return samples->strings + samples->string_offset[samples->mappings[mapping].path];
}

/* ---- what comes out ---- */

TEST(sampler_of_a_busy_function)
{
    int before = open_descriptors(), threads = own_threads();
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    struct kp_sampling sampling = usual();
    struct kp_sampler *sampler = open_sampler(&target, &sampling, PERIOD_NS, OWN_FLAGS);
    char program[256] = {0};
    size_t here = 0, named = 0;
    CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    CHECK_OK(kp_sampler_enable(sampler));
    busy(BUSY_ROUNDS);
    CHECK_OK(kp_sampler_disable(sampler));
    struct kp_samples *samples = read_samples(sampler);
    check_whole(samples);
    CHECK(samples->len > 0);
    CHECK_EQ(samples_of(samples, pid), samples->len); /* nobody else, nor the drain thread */
    for (size_t i = 0; i < samples->len; i++) {
        here += strcmp(innermost_path(samples, i), program) == 0;
        named += samples->comm[i] != 0;
        CHECK_EQ(samples->tid[i], pid);
        CHECK_EQ(samples->period[i], PERIOD_NS);
    }
    CHECK(here > 0);
    CHECK_EQ(named, samples->len);
    kp_samples_destroy(samples);
    samples = read_samples(sampler); /* disabled: nothing is new */
    CHECK_EQ(samples->len, 0);
    kp_samples_destroy(samples);
    kp_sampler_destroy(sampler);
    CHECK_EQ(open_descriptors(), before);
    check_threads(threads);
}

TEST(sampler_of_everybody)
{
    need_privilege();
    int before = open_descriptors(), threads = own_threads();
    struct kp_target target = everybody();
    struct kp_sampling sampling = usual();
    struct kp_sampler *sampler = open_sampler(&target, &sampling, PERIOD_NS, 0);
    CHECK_OK(kp_sampler_enable(sampler));
    busy(BUSY_ROUNDS);
    struct kp_samples *samples = read_samples(sampler);
    check_whole(samples);
    CHECK(samples_of(samples, getpid()) > 0);
    kp_samples_destroy(samples);
    CHECK_OK(kp_sampler_disable(sampler));
    kp_sampler_destroy(sampler);
    CHECK_EQ(open_descriptors(), before);
    check_threads(threads);
}

/* The list of all processes is still being read when everything is taken down. */
TEST(sampler_of_everybody_destroyed_at_once)
{
    need_privilege();
    int before = open_descriptors(), threads = own_threads();
    struct kp_target target = everybody();
    struct kp_sampling sampling = usual();
    int times = repeat(50);
    for (int i = 0; i < times; i++) {
        struct kp_sampler *sampler = open_sampler(&target, &sampling, 10000000, 0);
        CHECK_OK(kp_sampler_enable(sampler));
        usleep((useconds_t)(i * 37 % 2000));
        kp_sampler_destroy(sampler);
    }
    CHECK_EQ(open_descriptors(), before);
    check_threads(threads);
}

static const char script[] = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";

TEST(sampler_of_a_command)
{
    char *const argv[] = {"sh", "-c", (char *)script, NULL};
    char *const environment[] = {NULL};
    struct kp_child *child;
    int before = open_descriptors(), status;
    CHECK_OK(kp_child_create("/bin/sh", argv, argv, environment, 256, 256, &child));
    int32_t pid = kp_child_pid(child);
    struct kp_target target = process(&pid);
    struct kp_sampling sampling = usual();
    struct kp_sampler *sampler =
        open_sampler(&target, &sampling, PERIOD_NS, OWN_FLAGS | KP_ENABLE_ON_EXEC);
    CHECK_OK(kp_child_release(child));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    kp_child_destroy(child);
    struct kp_samples *samples = read_samples(sampler);
    check_whole(samples);
    CHECK(samples->len > 0);
    CHECK_EQ(samples_of(samples, pid), samples->len);
    size_t named = 0, mapped = 0;
    for (size_t i = 0; i < samples->len; i++) {
        named += strcmp(samples->strings + samples->string_offset[samples->comm[i]], "sh") == 0;
        mapped += innermost_path(samples, i)[0] == '/';
    }
    CHECK_EQ(named, samples->len);
    CHECK(mapped > 0);
    kp_samples_destroy(samples);
    kp_sampler_destroy(sampler);
    CHECK_EQ(open_descriptors(), before);
}

static void *keep_busy(void *stop)
{
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
        busy(1000);
    return NULL;
}

/* No sample is in two results, and none of an earlier time in a later one of its CPU. */
TEST(sampler_read_while_enabled)
{
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    struct kp_sampling sampling = usual();
    struct kp_sampler *sampler = open_sampler(&target, &sampling, 100000, OWN_FLAGS);
    pthread_t thread;
    uint64_t last[MOST_CPUS] = {0};
    int stop = 0, times = repeat(100);
    size_t total = 0;
    CHECK_OK(kp_sampler_enable(sampler));
    CHECK_EQ(pthread_create(&thread, NULL, keep_busy, &stop), 0);
    for (int i = 0; i < times || total == 0; i++) {
        struct kp_samples *samples = read_samples(sampler);
        check_whole(samples);
        uint64_t highest[MOST_CPUS];
        memcpy(highest, last, sizeof(highest));
        for (size_t row = 0; row < samples->len; row++) {
            int32_t cpu = samples->cpu[row];
            CHECK(cpu >= 0 && cpu < MOST_CPUS);
            CHECK(samples->time[row] > last[cpu]);
            highest[cpu] = samples->time[row];
        }
        memcpy(last, highest, sizeof(last));
        total += samples->len;
        kp_samples_destroy(samples);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    kp_sampler_destroy(sampler);
}

/* ---- what is lost and dropped ---- */

static struct kp_event faults(void)
{
    struct pair pair = clock_events(1);
    struct kp_event event = pair.events[1];
    event.config = SW_PAGE_FAULTS;
    event.period = 1;
    event.leader = 0;
    return event;
}

static struct kp_samples *sample_faults(const struct kp_sampling *sampling, int pauses,
                                        size_t faults_at_once)
{
    struct kp_target target = own_thread();
    struct kp_event event = faults();
    struct kp_sampler *sampler = NULL;
    CHECK_OK(kp_sampler_create(&event, 1, &target, sampling, 0, &sampler));
    CHECK_OK(kp_sampler_enable(sampler));
    for (int i = 0; i <= pauses; i++) {
        touch_pages(faults_at_once);
        usleep(2000);
    }
    CHECK_OK(kp_sampler_disable(sampler));
    struct kp_samples *samples = read_samples(sampler);
    kp_sampler_destroy(sampler);
    return samples;
}

/* Every page touched is one sample, taken, or counted as lost. The kernel tells of a loss before
 * the next record that finds room: what went lost after the last one nobody knows, and a touch that
 * comes when the ring is empty makes it known. */
TEST(sampler_of_a_tiny_ring)
{
    enum { PAGES = 3000, ROUNDS = 20 };
    struct kp_sampling sampling = usual();
    struct kp_target target = own_thread();
    struct kp_event event = faults();
    struct kp_sampler *sampler = NULL;
    uint64_t taken = 0, lost = 0;
    sampling.ring_bytes = 1;
    CHECK_OK(kp_sampler_create(&event, 1, &target, &sampling, 0, &sampler));
    CHECK_OK(kp_sampler_enable(sampler));
    cpu_set_t one, all;
    CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    for (int i = 0; i <= ROUNDS; i++) {
        touch_pages(i < ROUNDS ? PAGES : 1);
        struct kp_samples *samples = read_samples(sampler);
        CHECK_EQ(samples->ring_bytes, (uint64_t)sysconf(_SC_PAGESIZE));
        CHECK_EQ(samples->loss[0].samples, samples->len);
        CHECK_EQ(samples->loss[0].dropped, 0);
        taken += samples->loss[0].samples;
        lost += samples->loss[0].lost;
        kp_samples_destroy(samples);
    }
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
    kp_sampler_destroy(sampler);
    CHECK(taken > 0);
    CHECK(lost > 0);
    CHECK(taken + lost >= (uint64_t)PAGES * ROUNDS);
}

TEST(sampler_of_a_ring_that_is_large_enough)
{
    enum { PAGES = 2000 };
    struct kp_sampling sampling = usual();
    struct kp_samples *samples = sample_faults(&sampling, 0, PAGES);
    CHECK(samples->len >= PAGES);
    CHECK_EQ(samples->loss[0].lost, 0);
    CHECK_EQ(samples->loss[0].samples, samples->len);
    kp_samples_destroy(samples);
}

TEST(sampler_of_a_tiny_store)
{
    enum { LEAST_ROWS = 1024, PAGES = 500, PAUSES = 9 };
    struct kp_sampling sampling = usual();
    sampling.store_bytes = 1;
    struct kp_samples *samples = sample_faults(&sampling, PAUSES, PAGES);
    CHECK_EQ(samples->len, LEAST_ROWS);
    CHECK_EQ(samples->loss[0].samples, LEAST_ROWS);
    CHECK(samples->loss[0].dropped > 0);
    CHECK(samples->len + samples->loss[0].dropped + samples->loss[0].lost >=
          (uint64_t)PAGES * (PAUSES + 1));
    kp_samples_destroy(samples);
}

/* ---- what stays behind ---- */

TEST(sampler_over_and_over)
{
    int before = open_descriptors(), threads = own_threads(), times = repeat(200);
    struct kp_target target = own_thread();
    struct kp_sampling sampling = usual();
    for (int i = 0; i < times; i++) {
        struct kp_sampler *sampler = open_sampler(&target, &sampling, PERIOD_NS, 0);
        if (i % 3 != 0)
            CHECK_OK(kp_sampler_enable(sampler));
        if (i % 3 == 2)
            kp_samples_destroy(read_samples(sampler));
        kp_sampler_destroy(sampler);
        CHECK_EQ(open_descriptors(), before);
    }
    check_threads(threads);
    kp_sampler_destroy(NULL);
}

struct inherited {
    struct kp_sampler *sampler;
    int before;
};

/* What a forked child has of a session: nothing but copies of descriptors to close. */
static void leave(void *context)
{
    const struct inherited *inherited = context;
    struct kp_samples *samples;
    CHECK_EQ(kp_sampler_read(inherited->sampler, &samples), KP_E_FORKED);
    CHECK_EQ(kp_sampler_enable(inherited->sampler), KP_E_FORKED);
    kp_sampler_abandon(inherited->sampler);
    CHECK_EQ(open_descriptors(), inherited->before);
    _exit(0); /* what the parent had allocated is its own to free */
}

static void check_abandoned(const struct kp_target *target, uint32_t flags)
{
    struct kp_sampling sampling = usual();
    struct inherited inherited = {.before = open_descriptors()};
    inherited.sampler = open_sampler(target, &sampling, PERIOD_NS, flags);
    CHECK_OK(kp_sampler_enable(inherited.sampler));
    /* A read waits until the processes are listed: none of their files is open at the fork. */
    kp_samples_destroy(read_samples(inherited.sampler));
    int status = in_child(leave, &inherited);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    busy(BUSY_ROUNDS);
    struct kp_samples *samples = read_samples(inherited.sampler);
    check_whole(samples);
    CHECK(samples_of(samples, getpid()) > 0); /* the parent's goes on */
    kp_samples_destroy(samples);
    kp_sampler_destroy(inherited.sampler);
    CHECK_EQ(open_descriptors(), inherited.before);
}

TEST(sampler_abandoned_in_a_child)
{
    int32_t pid = getpid();
    struct kp_target target = process(&pid);
    check_abandoned(&target, 0);
}

TEST(sampler_of_everybody_abandoned_in_a_child)
{
    need_privilege();
    struct kp_target target = everybody();
    check_abandoned(&target, 0);
}

/* ---- what is refused ---- */

static void check_refused(const struct kp_event *events, size_t n, const struct kp_target *target,
                          int code)
{
    struct kp_sampler *sampler = NULL;
    struct kp_sampling sampling = usual();
    int before = open_descriptors(), threads = own_threads();
    CHECK_EQ(kp_sampler_create(events, n, target, &sampling, 0, &sampler), code);
    CHECK(sampler == NULL);
    CHECK_EQ(kp_last_error()->code, code);
    CHECK_EQ(open_descriptors(), before);
    check_threads(threads);
}

TEST(sampler_of_an_event_that_is_none)
{
    struct pair pair = clock_events(PERIOD_NS);
    struct kp_target target = own_thread();
    pair.events[1].config = 999;
    check_refused(pair.events, 2, &target, KP_E_CPU); /* nothing here counts it */
}

TEST(sampler_of_nobody)
{
    struct pair pair = clock_events(PERIOD_NS);
    int32_t nobody = 0x7ffffff0;
    struct kp_target target = process(&nobody);
    check_refused(pair.events, 2, &target, KP_E_NO_PROCESS);
}

TEST(sampler_of_a_cpu_that_is_none)
{
    static const int32_t far = 100000;
    struct pair pair = clock_events(PERIOD_NS);
    struct kp_target target = own_thread();
    for (int i = 0; i < 2; i++) {
        pair.events[i].cpus = &far;
        pair.events[i].n_cpus = 1;
    }
    check_refused(pair.events, 2, &target, KP_E_EVENT);
}

static void sample_everybody(void *unused)
{
    struct pair pair = clock_events(PERIOD_NS);
    struct kp_target target = everybody();
    (void)unused;
    check_refused(pair.events, 2, &target, KP_E_PERMISSION);
}

static void sample_init(void *unused)
{
    struct pair pair = clock_events(PERIOD_NS);
    int32_t init = 1;
    struct kp_target target = process(&init);
    (void)unused;
    check_refused(pair.events, 2, &target, KP_E_PERMISSION);
}

TEST(sampler_without_permission)
{
    need_paranoid_2();
    as_user(sample_everybody, NULL);
    as_user(sample_init, NULL);
}

static void without_descriptors(void *unused)
{
    struct pair pair = clock_events(PERIOD_NS);
    struct kp_target target = own_thread();
    struct kp_sampling sampling = usual();
    struct kp_sampler *sampler = NULL;
    int before = open_descriptors(), threads = own_threads(), failures = 0;
    (void)unused;
    /* One descriptor more each time: every place at which they may run out. */
    for (rlim_t room = 4;; room++) {
        struct rlimit few = {.rlim_cur = room, .rlim_max = room}, many;
        CHECK_EQ(getrlimit(RLIMIT_NOFILE, &many), 0);
        few.rlim_max = many.rlim_max;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        int rc = kp_sampler_create(pair.events, 2, &target, &sampling, 0, &sampler);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &many), 0);
        if (rc == 0)
            break;
        failures++;
        CHECK(sampler == NULL && kp_last_error()->code == rc);
        CHECK_EQ(open_descriptors(), before);
        check_threads(threads);
        CHECK(room < 4096);
    }
    kp_sampler_destroy(sampler);
    CHECK(failures > 0);
    CHECK_EQ(open_descriptors(), before);
}

TEST(sampler_without_descriptors)
{
    CHECK_EQ(in_child(without_descriptors, NULL), 0);
}

/* ---- the drain thread by itself ---- */

static void take_nothing(void *context, const uint8_t *record, size_t size)
{
    (void)context;
    (void)record;
    (void)size;
}

static int work_some(void *context)
{
    return --*(int *)context > 0;
}

TEST(drain_works_until_it_is_done)
{
    int left = 100;
    struct kp_drain drain;
    CHECK_OK(kp_drain_start(&drain, 1, take_nothing, work_some, &left));
    kp_drain_finish_work(&drain); /* none was begun */
    CHECK_EQ(left, 100);
    kp_drain_begin_work(&drain);
    kp_drain_finish_work(&drain);
    CHECK_EQ(left, 0);
    kp_drain_stop(&drain);
    kp_drain_stop(&drain); /* once more: nothing */
}

/* What it drains must not run full while others have the CPU. */
TEST(drain_goes_before_others)
{
    struct kp_drain drain;
    need_privilege();
    CHECK_OK(kp_drain_start(&drain, 1, take_nothing, NULL, NULL));
    CHECK(getpriority(PRIO_PROCESS, (id_t)drain.tid) < getpriority(PRIO_PROCESS, 0));
    kp_drain_stop(&drain);
}

TEST(drain_of_no_such_cpu)
{
    struct kp_drain drain;
    struct kp_ring *ring;
    CHECK_OK(kp_drain_start(&drain, 1, take_nothing, NULL, NULL));
    CHECK_EQ(kp_drain_ring(&drain, 1, 4096, &ring), KP_E_ARGUMENT);
    CHECK_EQ(kp_drain_ring(&drain, -1, 4096, &ring), KP_E_ARGUMENT);
    kp_drain_stop(&drain);
}

/* Where its parts cannot be made, nothing is started, and stopping it is harmless. */
static void start_without_descriptors(void *unused)
{
    struct kp_drain drain;
    struct rlimit none, before;
    (void)unused;
    int open = open_descriptors();
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(kp_drain_start(&drain, 1, take_nothing, NULL, NULL), KP_E_SYSTEM);
    kp_drain_stop(&drain);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQ(open_descriptors(), open);
}

static void map_much(void *context)
{
    struct kp_drain drain;
    struct kp_ring *ring;
    size_t smallest = SIZE_MAX, largest = 0;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    (void)context;
    for (int32_t cpu = 0; cpu < n; cpu++)
        all_cpus[cpu] = cpu;
    all_cpus[n] = 0; /* twice */
    all_cpus[n + 1] = 5000;
    CHECK_OK(kp_drain_start(&drain, (size_t)n, take_nothing, NULL, NULL));
    CHECK_OK(kp_drain_rings(&drain, all_cpus, (size_t)n + 2, (size_t)1 << 28));
    for (int32_t cpu = 0; cpu < n; cpu++) {
        CHECK_OK(kp_drain_ring(&drain, cpu, 4096, &ring));
        smallest = ring->size < smallest ? ring->size : smallest;
        largest = ring->size > largest ? ring->size : largest;
    }
    CHECK(smallest == largest && smallest >= 4096);
    kp_drain_stop(&drain);
}

/* Where there is not enough memory to lock, no ring takes another's. */
TEST(drain_of_rings_that_are_too_large)
{
    need_paranoid_2();
    as_user(map_much, NULL);
}

TEST(drain_without_descriptors)
{
    CHECK_EQ(in_child(start_without_descriptors, NULL), 0);
}

TEST(drain_without_memory_for_rings)
{
    struct kp_drain drain;
    int before = open_descriptors();
    CHECK_EQ(kp_drain_start(&drain, SIZE_MAX / 2, take_nothing, NULL, NULL), KP_E_NOMEM);
    kp_drain_stop(&drain);
    CHECK_EQ(open_descriptors(), before);
}
