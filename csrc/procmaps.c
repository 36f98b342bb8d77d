/* SPDX-License-Identifier: Apache-2.0
 * A running process as /proc shows it: the names of its threads and its executable mappings. */
#include "space.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int scan_comm(struct kp_spaces *spaces, int32_t pid, int32_t tid, uint64_t now)
{
    char path[64], comm[32];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    size_t n = fread(comm, 1, sizeof(comm), file);
    fclose(file);
    while (n > 0 && comm[n - 1] == '\n')
        n--;
    struct kp_side side = {
        .kind = KP_SIDE_COMM, .time = now, .pid = pid, .tid = tid, .name = comm, .name_size = n};
    return kp_spaces_add_scanned(spaces, &side);
}

static int scan_threads(struct kp_spaces *spaces, int32_t pid, uint64_t now)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        int32_t tid = atoi(entry->d_name);
        if (tid > 0)
            rc = scan_comm(spaces, pid, tid, now);
    }
    closedir(dir);
    return rc;
}

/* 7f0000000000-7f0000001000 r-xp 00001000 fe:01 1234   /usr/lib/name with spaces (deleted) */
static int parse_map(const char *line, struct kp_side *out)
{
    char rights[8];
    unsigned long long start, end, offset, inode;
    unsigned major, minor;
    int name = 0;
    if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, rights, &offset, &major,
               &minor, &inode, &name) < 7 ||
        rights[2] != 'x' || end < start)
        return 0;
    out->start = start;
    out->length = end - start;
    out->offset = offset;
    out->inode = inode;
    out->device_major = major;
    out->device_minor = minor;
    out->name = name > 0 ? line + name : "";
    out->name_size = strlen(out->name);
    if (out->name_size == 0) {
        out->name = "//anon";
        out->name_size = strlen(out->name);
    }
    return 1;
}

int kp_spaces_scan(struct kp_spaces *spaces, int32_t pid, uint64_t now)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = getline(&line, &room, file)) > 0) {
        struct kp_side side = {.kind = KP_SIDE_MAP, .time = now, .pid = pid, .tid = pid};
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        if (parse_map(line, &side))
            rc = kp_spaces_add_scanned(spaces, &side);
    }
    free(line);
    fclose(file);
    return rc != 0 ? rc : scan_threads(spaces, pid, now);
}
