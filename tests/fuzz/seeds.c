/* SPDX-License-Identifier: Apache-2.0
 * Writes seeds for fuzz_record and fuzz_ring from rings that this machine's kernel filled.
 *
 * usage: seeds RECORD_DIRECTORY RING_DIRECTORY */
#include "kperf_core.h"
#include "perf_abi.h"
#include "ring.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IOC_ENABLE 0x2400UL
#define IOC_DISABLE 0x2401UL

enum { MOST_BYTES = 3000, RING_BYTES = 1 << 16, SW_PAGE_FAULTS = 2, SW_CONTEXT_SWITCHES = 3 };

static const uint64_t USUAL = KP_SAMPLE_IDENTIFIER | KP_SAMPLE_IP | KP_SAMPLE_TID | KP_SAMPLE_TIME |
                              KP_SAMPLE_CPU | KP_SAMPLE_PERIOD;

static const struct variant {
    const char *name;
    uint64_t more; /* of the sample's fields */
    uint64_t config;
    uint8_t flags; /* as fuzz_ring has them */
} variants[] = {
    {"plain", 0, SW_PAGE_FAULTS, 0},
    {"stacks", KP_SAMPLE_CALLCHAIN, SW_PAGE_FAULTS, KP_SAMPLING_CALLCHAIN},
    {"addresses", KP_SAMPLE_ADDR, SW_PAGE_FAULTS, KP_SAMPLING_ADDR},
    {"raw", KP_SAMPLE_RAW | KP_SAMPLE_CALLCHAIN, SW_CONTEXT_SWITCHES,
     KP_SAMPLING_RAW | KP_SAMPLING_CALLCHAIN},
};

struct out {
    const char *record_directory;
    const struct variant *variant;
    uint64_t type;
    uint32_t seen; /* kinds of record, as bits */
    size_t used;
    uint8_t bytes[MOST_BYTES];
};

static void write_file(const char *directory, const char *name, const void *head, size_t head_size,
                       const void *body, size_t body_size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(head, 1, head_size, file) != head_size ||
        fwrite(body, 1, body_size, file) != body_size || fclose(file) != 0)
        exit(1);
}

/* The first event of fuzz_ring takes what is no sample, the third tells its period. */
static void rename_event(uint8_t *record, size_t size, uint32_t type)
{
    uint64_t id = type == KP_RECORD_SAMPLE ? 3 : 1;
    size_t at = type == KP_RECORD_SAMPLE ? sizeof(struct kp_record_header) : size - sizeof(id);
    memcpy(record + at, &id, sizeof(id));
}

static void take(void *context, const uint8_t *record, size_t size)
{
    struct out *out = context;
    struct kp_record_header header;
    char name[64];
    if (out->used + size > sizeof(out->bytes))
        return;
    memcpy(&header, record, sizeof(header));
    memcpy(out->bytes + out->used, record, size);
    rename_event(out->bytes + out->used, size, header.type);
    out->used += size;
    if (header.type >= 32 || out->seen >> header.type & 1)
        return;
    out->seen |= 1u << header.type;
    snprintf(name, sizeof(name), "%s-%u", out->variant->name, header.type);
    write_file(out->record_directory, name, &out->type, sizeof(out->type), record, size);
}

static void live(void)
{
    int status;
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    page[0] = 1;
    prctl(PR_SET_NAME, "a \xff name");
    usleep(1000);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    munmap(page, 4096);
    munmap(code, 4096);
    close(fd);
}

static void record(const struct variant *variant, const char *record_directory,
                   const char *ring_directory)
{
    struct kp_ring ring;
    static struct out out;
    out = (struct out){.record_directory = record_directory, .variant = variant};
    out.type = USUAL | variant->more;
    struct kp_attr attr = {.type = KP_TYPE_SOFTWARE,
                           .size = sizeof(attr),
                           .config = variant->config,
                           .sample_period = 1,
                           .sample_type = out.type,
                           .flags = KP_ATTR_DISABLED | KP_ATTR_INHERIT | KP_ATTR_TASK |
                                    KP_ATTR_COMM | KP_ATTR_MMAP | KP_ATTR_MMAP2 |
                                    KP_ATTR_COMM_EXEC | KP_ATTR_USE_CLOCKID | KP_ATTR_SAMPLE_ID_ALL,
                           .clockid = CLOCK_MONOTONIC,
                           .sample_max_stack = 16};
    int cpu = 0; /* a ring that is inherited must be one CPU's */
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        exit(1);
    int fd = kp_perf_event_open(&attr, 0, cpu, -1, KP_OPEN_CLOEXEC);
    if (fd < 0) {
        perror("perf_event_open");
        exit(1);
    }
    if (kp_ring_create(fd, RING_BYTES, &ring) != 0)
        exit(1);
    ioctl(fd, IOC_ENABLE, 0);
    live();
    ioctl(fd, IOC_DISABLE, 0);
    kp_ring_drain(&ring, take, &out);
    kp_ring_destroy(&ring);
    uint8_t head[8] = {variant->flags};
    write_file(ring_directory, variant->name, head, sizeof(head), out.bytes, out.used);
}

/* What a machine without LBR or BRBE cannot record. */
static void invent_branches(const char *record_directory, const char *ring_directory)
{
    struct {
        struct kp_record_header header;
        uint64_t id, ip;
        uint32_t pid, tid;
        uint64_t time, cpu, period, n, branches[2][3];
    } sample = {.header = {.type = KP_RECORD_SAMPLE, .misc = KP_MISC_USER, .size = sizeof(sample)},
                .id = 3,
                .ip = 0x401000,
                .pid = 7,
                .tid = 7,
                .time = 1000,
                .period = 5,
                .n = 2,
                .branches = {{0x401000, 0x402000, 1}, {0x402010, 0x401004, 2}}};
    uint64_t type = USUAL | KP_SAMPLE_BRANCH_STACK;
    uint8_t head[8] = {0, 1};
    write_file(record_directory, "branches", &type, sizeof(type), &sample, sizeof(sample));
    write_file(ring_directory, "branches", head, sizeof(head), &sample, sizeof(sample));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        record(&variants[i], argv[1], argv[2]);
    invent_branches(argv[1], argv[2]);
    return 0;
}
