/* SPDX-License-Identifier: Apache-2.0
 * bpf(2): maps, programs, and one sentence about what the kernel refused. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syscall */
#endif
#include "bpf.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOG_BYTES = 1 << 18, BATCH = 1024, DESCRIPTOR_FLOOR = 1024 };

static int bpf(enum kp_bpf_command command, void *attribute, size_t size)
{
    return (int)syscall(SYS_bpf, (int)command, attribute, (unsigned int)size);
}

static uint64_t address_of(const void *memory)
{
    return (uint64_t)(uintptr_t)memory;
}

/* The kernel sets close-on-exec by itself; the low numbers are the host program's. */
static int move_up(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR_FLOOR);
    if (moved < 0)
        return fd; /* no room up there */
    close(fd);
    return moved;
}

/* ---- why not ---- */

enum { CAP_SYS_ADMIN_BIT = 21, CAP_PERFMON_BIT = 38, CAP_BPF_BIT = 39 };

static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static uint64_t capabilities(void)
{
    char text[4096];
    if (!read_text("/proc/thread-self/status", text, sizeof(text)))
        return 0;
    const char *line = strstr(text, "\nCapEff:");
    return line == NULL ? 0 : strtoull(line + 8, NULL, 16);
}

/* Capabilities of another user namespace than the first count for nothing here. */
static int in_first_user_namespace(void)
{
    char text[128];
    unsigned long from = 1, to = 1, length = 0;
    if (!read_text("/proc/self/uid_map", text, sizeof(text)))
        return 1;
    return sscanf(text, "%lu %lu %lu", &from, &to, &length) == 3 && from == 0 && to == 0 &&
           length == 4294967295u;
}

static int locked_down(void)
{
    char text[128];
    return read_text("/sys/kernel/security/lockdown", text, sizeof(text)) &&
           strstr(text, "[confidentiality]") != NULL;
}

static int has(uint64_t capabilities, int bit)
{
    return (capabilities >> bit & 1) != 0;
}

static int not_permitted(int failure)
{
    uint64_t own = capabilities();
    int admin = has(own, CAP_SYS_ADMIN_BIT);
    if (!admin && !has(own, CAP_BPF_BIT))
        return kp_fail(KP_E_PERMISSION, failure, "BPF programs need CAP_BPF and CAP_PERFMON");
    if (!admin && !has(own, CAP_PERFMON_BIT))
        return kp_fail(KP_E_PERMISSION, failure, "BPF programs that trace need CAP_PERFMON");
    if (!in_first_user_namespace())
        return kp_fail(KP_E_PERMISSION, failure,
                       "BPF programs need capabilities in the first user namespace");
    if (locked_down())
        return kp_fail(KP_E_PERMISSION, failure, "kernel lockdown forbids BPF to read the kernel");
    return kp_fail(KP_E_PERMISSION, failure,
                   "a seccomp filter or a security module forbids bpf(2)");
}

static int refused(int failure, const char *what)
{
    switch (failure) {
    case EPERM:
    case EACCES:
        return not_permitted(failure);
    case ENOSYS:
        return kp_fail(KP_E_KERNEL, failure, "this kernel has no BPF");
    case ENOMEM:
        return kp_fail(KP_E_NOMEM, failure, "no memory for %s", what);
    case E2BIG:
        return kp_fail(KP_E_NOMEM, failure, "too large for a BPF map: %s", what);
    case EMFILE:
    case ENFILE:
        return kp_fail(KP_E_FILES, failure, "no descriptor left for %s", what);
    default:
        return kp_fail(KP_E_KERNEL, failure, "this kernel refused %s", what);
    }
}

/* ---- maps ---- */

/* Before Linux 5.11 maps counted as locked memory, at their creation. */
static int create_unlimited(struct kp_bpf_map_create *attribute)
{
    struct rlimit before, most = {RLIM_INFINITY, RLIM_INFINITY};
    if (getrlimit(RLIMIT_MEMLOCK, &before) != 0 || setrlimit(RLIMIT_MEMLOCK, &most) != 0) {
        errno = EPERM;
        return -1;
    }
    int fd = bpf(KP_BPF_CMD_MAP_CREATE, attribute, sizeof(*attribute));
    int failure = errno;
    setrlimit(RLIMIT_MEMLOCK, &before);
    errno = failure;
    return fd;
}

static int create(const char *name, struct kp_bpf_map_create *attribute, int *out)
{
    char what[48];
    snprintf(attribute->map_name, sizeof(attribute->map_name), "kperf_%s", name);
    int fd = bpf(KP_BPF_CMD_MAP_CREATE, attribute, sizeof(*attribute));
    if (fd < 0 && errno == EPERM)
        fd = create_unlimited(attribute);
    if (fd < 0) {
        int failure = errno;
        snprintf(what, sizeof(what), "the BPF map '%s'", name);
        return refused(failure, what);
    }
    *out = move_up(fd);
    return 0;
}

static int create_map(const char *name, enum kp_bpf_map_type type, uint32_t flags,
                      struct kp_bpf_map *map)
{
    struct kp_bpf_map_create attribute = {.map_type = type,
                                          .key_size = map->key_size,
                                          .value_size = map->value_size,
                                          .max_entries = map->max_items,
                                          .map_flags = flags};
    return create(name, &attribute, &map->fd);
}

int kp_bpf_map_create(const char *name, enum kp_bpf_map_type type, uint32_t key_size,
                      uint32_t value_size, uint32_t max_items, struct kp_bpf_map *out)
{
    *out = (struct kp_bpf_map){
        .fd = -1, .key_size = key_size, .value_size = value_size, .max_items = max_items};
    return create_map(name, type, 0, out);
}

void kp_bpf_map_close(struct kp_bpf_map *map)
{
    if (map->fd >= 0)
        close(map->fd);
    map->fd = -1;
}

int kp_bpf_memory_create(const char *name, size_t bytes, struct kp_bpf_map *out, void **memory)
{
    *out = (struct kp_bpf_map){.fd = -1, .key_size = 4, .max_items = 1};
    if (bytes > INT32_MAX)
        return kp_fail(KP_E_NOMEM, E2BIG, "too large for a BPF map: %zu bytes", bytes);
    out->value_size = (uint32_t)bytes;
    int rc = create_map(name, KP_BPF_ARRAY, KP_BPF_F_MMAPABLE, out);
    if (rc != 0)
        return rc;
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, out->fd, 0);
    if (*memory != MAP_FAILED)
        return 0;
    rc = kp_fail(KP_E_NOMEM, errno, "no address space for the BPF map '%s'", name);
    kp_bpf_map_close(out);
    *memory = NULL;
    return rc;
}

int kp_bpf_map_get(const struct kp_bpf_map *map, const void *key, void *value)
{
    struct kp_bpf_map_item item = {
        .map_fd = (uint32_t)map->fd, .key = address_of(key), .value = address_of(value)};
    return bpf(KP_BPF_CMD_MAP_LOOKUP, &item, sizeof(item));
}

int kp_bpf_map_put(const struct kp_bpf_map *map, const void *key, const void *value)
{
    struct kp_bpf_map_item item = {
        .map_fd = (uint32_t)map->fd, .key = address_of(key), .value = address_of(value)};
    return bpf(KP_BPF_CMD_MAP_UPDATE, &item, sizeof(item));
}

int kp_bpf_map_remove(const struct kp_bpf_map *map, const void *key)
{
    struct kp_bpf_map_item item = {.map_fd = (uint32_t)map->fd, .key = address_of(key)};
    return bpf(KP_BPF_CMD_MAP_DELETE, &item, sizeof(item));
}

/* What a walk through a map needs: room for a batch of its items. */
struct walk {
    uint8_t *keys;
    uint8_t *values;
    uint32_t room;
};

static int walk_room(struct walk *walk, const struct kp_bpf_map *map, uint32_t room)
{
    free(walk->keys);
    free(walk->values);
    walk->room = room;
    walk->keys = calloc(room, map->key_size); /* valgrind does not see the kernel write them */
    walk->values = calloc(room, map->value_size);
    if (walk->keys == NULL || walk->values == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory to read a BPF map");
    return 0;
}

static int walk_map(struct walk *walk, const struct kp_bpf_map *map,
                    int (*take)(void *context, const void *key, const void *value), void *context)
{
    uint32_t at = 0;
    int rc = walk_room(walk, map, map->max_items < BATCH ? map->max_items : BATCH);
    for (int first = 1, last = 0; rc == 0 && !last;) {
        struct kp_bpf_map_batch batch = {.in_batch = first ? 0 : address_of(&at),
                                         .out_batch = address_of(&at),
                                         .keys = address_of(walk->keys),
                                         .values = address_of(walk->values),
                                         .count = walk->room,
                                         .map_fd = (uint32_t)map->fd};
        if (bpf(KP_BPF_CMD_MAP_LOOKUP_BATCH, &batch, sizeof(batch)) != 0) {
            if (errno == ENOSPC && walk->room <= map->max_items) { /* less than one bucket */
                rc = walk_room(walk, map, walk->room * 2);
                continue;
            }
            if (errno != ENOENT)
                return kp_fail(KP_E_KERNEL, errno, "cannot read a BPF map");
            last = 1;
        }
        first = 0;
        for (uint32_t i = 0; rc == 0 && i < batch.count && i < walk->room; i++)
            rc = take(context, walk->keys + (size_t)i * map->key_size,
                      walk->values + (size_t)i * map->value_size);
    }
    return rc;
}

int kp_bpf_map_each(const struct kp_bpf_map *map,
                    int (*take)(void *context, const void *key, const void *value), void *context)
{
    struct walk walk = {NULL, NULL, 0};
    int rc = walk_map(&walk, map, take, context);
    free(walk.keys);
    free(walk.values);
    return rc;
}

/* ---- waiting for running programs ---- */

int kp_bpf_barrier_create(struct kp_bpf_barrier *out)
{
    out->inner = out->outer = -1;
    struct kp_bpf_map_create inner = {
        .map_type = KP_BPF_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    int rc = create("inner", &inner, &out->inner);
    if (rc != 0)
        return rc;
    struct kp_bpf_map_create outer = {.map_type = KP_BPF_ARRAY_OF_MAPS,
                                      .key_size = 4,
                                      .value_size = 4,
                                      .max_entries = 1,
                                      .inner_map_fd = (uint32_t)out->inner};
    rc = create("outer", &outer, &out->outer);
    if (rc != 0)
        kp_bpf_barrier_close(out);
    return rc;
}

void kp_bpf_barrier_close(struct kp_bpf_barrier *barrier)
{
    if (barrier->inner >= 0)
        close(barrier->inner);
    if (barrier->outer >= 0)
        close(barrier->outer);
    barrier->inner = barrier->outer = -1;
}

int kp_bpf_barrier_wait(const struct kp_bpf_barrier *barrier)
{
    /* The kernel promises of this one update that programs which ran before it are over after it
     * (maybe_wait_bpf_programs), and no other call does so on every configuration. */
    uint32_t key = 0, inner = (uint32_t)barrier->inner;
    struct kp_bpf_map_item item = {
        .map_fd = (uint32_t)barrier->outer, .key = address_of(&key), .value = address_of(&inner)};
    if (bpf(KP_BPF_CMD_MAP_UPDATE, &item, sizeof(item)) != 0)
        return kp_fail(KP_E_KERNEL, errno, "cannot wait for running BPF programs");
    return 0;
}

/* ---- programs ---- */

/* The line of the verifier's log that tells the reason: the last one before its statistics. */
static const char *reason(char *log)
{
    const char *found = "it gave no reason";
    for (char *line = strtok(log, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strncmp(line, "processed ", 10) != 0)
            found = line;
    return found;
}

static int load_again_for_log(const char *name, struct kp_bpf_prog_load *attribute, int failure,
                              int *out)
{
    char *log = calloc(1, LOG_BYTES);
    if (log == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the verifier's log");
    attribute->log_level = 1;
    attribute->log_size = LOG_BYTES;
    attribute->log_buffer = address_of(log);
    int rc = 0;
    int fd = bpf(KP_BPF_CMD_PROG_LOAD, attribute, sizeof(*attribute));
    if (fd >= 0)
        *out = move_up(fd); /* it was a shortage that has passed */
    else if (log[0] == '\0')
        rc = refused(errno, "a BPF program");
    else
        rc = kp_fail(KP_E_KERNEL, failure, "the kernel's verifier refused %s: %s", name,
                     reason(log));
    free(log);
    return rc;
}

int kp_bpf_load(const char *name, enum kp_bpf_prog_type type, uint32_t attach_id,
                const struct kp_asm *code, int *out)
{
    /* The kernel lends much of what programs call to those under the GPL only. */
    static const char license[] = "GPL";
    struct kp_bpf_prog_load attribute = {.prog_type = type,
                                         .insn_count = (uint32_t)code->len,
                                         .insns = address_of(code->insns),
                                         .license = address_of(license),
                                         .attach_btf_id = attach_id};
    if (type == KP_BPF_TRACING)
        attribute.expected_attach_type = KP_BPF_TRACE_RAW_TP;
    snprintf(attribute.prog_name, sizeof(attribute.prog_name), "kperf_%s", name);
    int fd = bpf(KP_BPF_CMD_PROG_LOAD, &attribute, sizeof(attribute));
    if (fd < 0)
        return load_again_for_log(name, &attribute, errno, out);
    *out = move_up(fd);
    return 0;
}

int kp_bpf_attach(const char *name, int program, int *out)
{
    struct kp_bpf_raw_tracepoint attribute = {.prog_fd = (uint32_t)program};
    int fd = bpf(KP_BPF_CMD_RAW_TRACEPOINT_OPEN, &attribute, sizeof(attribute));
    if (fd < 0) {
        char what[64];
        int failure = errno;
        snprintf(what, sizeof(what), "to attach the BPF program '%s'", name);
        return refused(failure, what);
    }
    *out = move_up(fd);
    return 0;
}

int kp_bpf_run_once(int program, uint32_t *returned)
{
    struct kp_bpf_test_run attribute = {.prog_fd = (uint32_t)program};
    if (bpf(KP_BPF_CMD_PROG_TEST_RUN, &attribute, sizeof(attribute)) != 0)
        return refused(errno, "to run a BPF program once");
    *returned = attribute.retval;
    return 0;
}

uint64_t kp_bpf_missed(int program)
{
    struct kp_bpf_prog_info info = {.recursion_misses = 0};
    struct kp_bpf_obj_info attribute = {
        .fd = (uint32_t)program, .info_length = sizeof(info), .info = address_of(&info)};
    if (bpf(KP_BPF_CMD_OBJ_INFO, &attribute, sizeof(attribute)) != 0 ||
        attribute.info_length < sizeof(info))
        return 0; /* a kernel that does not count them lets no program be interrupted so */
    return info.recursion_misses;
}

int kp_bpf_probe(void)
{
    struct kp_asm code;
    int fd = -1;
    kp_asm_start(&code);
    kp_asm_set(&code, R0, 0);
    kp_asm_exit(&code);
    int rc = kp_bpf_load("probe", KP_BPF_RAW_TRACEPOINT, 0, &code, &fd);
    if (rc == 0)
        close(fd);
    return rc;
}
