/* SPDX-License-Identifier: Apache-2.0
 * Runs the tests named on the command line, in their order, or lists them. */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, SOMEBODY = 65534, TRACEPOINT_TYPE = 2 };

static struct test *tests;
static const char *running = "?";
static jmp_buf after_test;

void add_test(struct test *test)
{
    test->next = tests;
    tests = test;
}

void fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: %s: ", file, line, running);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

void skip(const char *reason)
{
    printf("%s: skipped: %s\n", running, reason);
    longjmp(after_test, SKIPPED);
}

int repeat(int times)
{
    const char *percent = getenv("KPERF_TEST_PERCENT");
    int fewer = percent != NULL ? (int)((long)times * atoi(percent) / 100) : times;
    return fewer > 0 ? fewer : 1;
}

int slowed(void)
{
    return getenv("KPERF_TEST_SLOWED") != NULL;
}

/* ---- events and targets ---- */

struct kp_event software(uint64_t config)
{
    return (struct kp_event){.type = KP_TYPE_SOFTWARE, .config = config};
}

/* Our own tracefs, else (under a valgrind that does not know fsopen) the mounted one. */
static int tracefs(void)
{
    int32_t fd;
    if (kp_tracefs_open(&fd) == 0)
        return fd;
    CHECK_EQ(kp_last_error()->code, KP_E_TRACEFS);
    fd = open("/sys/kernel/tracing", O_PATH | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

struct kp_event tracepoint(const char *name)
{
    char path[128], text[32];
    int root = tracefs();
    snprintf(path, sizeof(path), "events/%s/id", name);
    int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        skip("no tracefs is mounted, and none can be made here");
    ssize_t n = read(fd, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n] = '\0';
    close(fd);
    close(root);
    return (struct kp_event){.type = TRACEPOINT_TYPE, .config = (uint64_t)atoll(text)};
}

struct kp_event stores_to(const volatile void *address)
{
    enum { TO_WRITE = 2, EIGHT_BYTES = 8 };
    return (struct kp_event){.type = KP_TYPE_BREAKPOINT,
                             .flags = KP_EVENT_EXCLUDE_KERNEL | KP_EVENT_EXCLUDE_HV,
                             .bp_type = TO_WRITE,
                             .config1 = (uint64_t)(uintptr_t)address,
                             .config2 = EIGHT_BYTES};
}

struct kp_event user_software(uint64_t config)
{
    struct kp_event event = software(config);
    event.flags = KP_EVENT_EXCLUDE_KERNEL | KP_EVENT_EXCLUDE_HV;
    return event;
}

void store(volatile uint64_t *word, int times)
{
    for (int i = 0; i < times; i++)
        *word = (uint64_t)i;
}

void need_privilege(void)
{
    if (geteuid() != 0)
        skip("counts for every process: needs root");
}

void need_paranoid_2(void)
{
    FILE *file = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
    int level = 0;
    CHECK(file != NULL);
    CHECK_EQ(fscanf(file, "%d", &level), 1);
    fclose(file);
    if (level != 2)
        skip("what a user may do is told for perf_event_paranoid 2, which is not set here");
}

struct kp_target own_thread(void)
{
    static _Thread_local int32_t tid;
    tid = own_tid();
    return (struct kp_target){.tids = &tid, .n_tids = 1, .cgroup_fd = -1};
}

struct kp_target everybody(void)
{
    return (struct kp_target){.cgroup_fd = -1};
}

struct kp_target process(const int32_t *pid)
{
    return (struct kp_target){.pids = pid, .n_pids = 1, .cgroup_fd = -1};
}

uint64_t sum_of(const struct kp_counts *counts, uint32_t event)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < counts->len; i++)
        if (counts->event[i] == event) {
            CHECK(counts->state[i] != KP_NOT_SUPPORTED);
            sum += counts->value[i];
        }
    return sum;
}

/* ---- sessions ---- */

struct kp_session *open_own(const struct kp_event *events, size_t n, uint32_t flags)
{
    struct kp_target target = own_thread();
    struct kp_session *session;
    CHECK_OK(kp_session_create(events, n, &target, flags, &session));
    return session;
}

struct kp_counts *read_all(struct kp_session *session)
{
    struct kp_counts *counts;
    CHECK_OK(kp_session_read(session, &counts));
    return counts;
}

int refused(const struct kp_event *events, size_t n, uint32_t flags)
{
    struct kp_target target = own_thread();
    struct kp_session *session = NULL;
    int before = open_descriptors();
    int rc = kp_session_create(events, n, &target, flags, &session);
    CHECK(rc < 0 && session == NULL);
    CHECK_EQ(kp_last_error()->code, rc);
    CHECK_EQ(open_descriptors(), before);
    return rc;
}

uint64_t read_sum(struct kp_session *session, uint32_t event)
{
    struct kp_counts *counts = read_all(session);
    uint64_t sum = sum_of(counts, event);
    kp_counts_destroy(counts);
    return sum;
}

int32_t own_tid(void)
{
    return (int32_t)syscall(SYS_gettid);
}

/* ---- descriptors, children, pages ---- */

int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

int in_child(void (*body)(void *), void *argument)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        body(argument);
        fflush(NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

struct user_body {
    void (*body)(void *);
    void *argument;
};

static void drop_and_run(void *context)
{
    const struct user_body *user = context;
    if (geteuid() == 0) {
        CHECK_EQ(setgroups(0, NULL), 0);
        CHECK_EQ(setgid(SOMEBODY), 0);
        CHECK_EQ(setuid(SOMEBODY), 0);
        /* Changing the user hides /proc/self from us, as exec would not. */
        CHECK_EQ(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    }
    user->body(user->argument);
}

void as_user(void (*body)(void *), void *argument)
{
    struct user_body user = {body, argument};
    int status = in_child(drop_and_run, &user);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

void touch_pages(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base =
        mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    madvise(base, n * page, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < n; i++)
        *(volatile uint8_t *)(base + i * page) = 1;
    munmap(base, n * page);
}

/* ---- running ---- */

static struct test *find(const char *name)
{
    for (struct test *test = tests; test != NULL; test = test->next)
        if (strcmp(test->name, name) == 0)
            return test;
    return NULL;
}

static int run_body(void (*body)(void))
{
    int outcome = setjmp(after_test);
    if (outcome == 0)
        body();
    return outcome;
}

static int run(const char *name)
{
    const struct test *test = find(name);
    if (test == NULL) {
        fprintf(stderr, "no test %s\n", name);
        return 2;
    }
    running = test->name;
    return run_body(test->body);
}

/* One test says with its exit status whether it was skipped; of several it is enough to know that
 * none failed. */
int main(int argc, char **argv)
{
    if (argc == 2)
        return run(argv[1]);
    for (int i = 1; i < argc; i++)
        if (run(argv[i]) == 2)
            return 2;
    return argc < 2 ? 2 : 0;
}
