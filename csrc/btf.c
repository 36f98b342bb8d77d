/* SPDX-License-Identifier: Apache-2.0
 * Type numbers and member offsets from the kernel's BTF. Format: Documentation/bpf/btf.rst. */
#include "btf.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAGIC = 0xeb9f,
    MOST_BYTES = 256 << 20,
    MOST_NESTED = 8,
    MOST_LINKS = 32,
    MOST_STEPS = 1 << 16
};

enum { STRUCT = 4, UNION = 5, TYPEDEF = 8, VOLATILE, CONST, RESTRICT, TYPE_TAG = 18 };

struct header {
    uint16_t magic;
    uint8_t version;
    uint8_t flags;
    uint32_t length;
    uint32_t type_offset;
    uint32_t type_length;
    uint32_t string_offset;
    uint32_t string_length;
};

struct type {
    uint32_t name;
    uint32_t info;
    uint32_t size_or_type;
};

struct member {
    uint32_t name;
    uint32_t type;
    uint32_t offset; /* in bits */
};

static uint32_t kind_of(const struct type *type)
{
    return type->info >> 24 & 0x1f;
}

static uint32_t count_of(const struct type *type)
{
    return type->info & 0xffff;
}

/* What follows a type of this kind: bytes once, and for each of its items. */
static int tail_of(const struct type *type, size_t *out)
{
    static const struct {
        uint8_t once;
        uint8_t each;
    } tails[] = {[1] = {4, 0},  [2] = {0, 0},  [3] = {12, 0}, [4] = {0, 12}, [5] = {0, 12},
                 [6] = {0, 8},  [7] = {0, 0},  [8] = {0, 0},  [9] = {0, 0},  [10] = {0, 0},
                 [11] = {0, 0}, [12] = {0, 0}, [13] = {0, 8}, [14] = {4, 0}, [15] = {0, 12},
                 [16] = {0, 0}, [17] = {4, 0}, [18] = {0, 0}, [19] = {0, 12}};
    uint32_t kind = kind_of(type);
    if (kind == 0 || kind >= sizeof(tails) / sizeof(*tails))
        return -1;
    *out = tails[kind].once + (size_t)tails[kind].each * count_of(type);
    return 0;
}

static const char *string_at(const struct kp_btf *btf, uint32_t offset)
{
    return offset < btf->strings_size ? btf->strings + offset : "";
}

/* 0 for a number that is out of range. */
static int type_at(const struct kp_btf *btf, uint32_t id, struct type *out)
{
    if (id == 0 || id >= btf->n_types)
        return 0;
    memcpy(out, btf->types + btf->at[id], sizeof(*out));
    return 1;
}

/* ---- reading ---- */

static int malformed(struct kp_btf *btf)
{
    kp_btf_free(btf);
    return kp_fail(KP_E_KERNEL, EINVAL, "the kernel's BTF cannot be read");
}

static int index_types(struct kp_btf *btf)
{
    size_t at = 0, n = 1;
    for (struct type type; at + sizeof(type) <= btf->types_size; n++) {
        size_t tail;
        memcpy(&type, btf->types + at, sizeof(type));
        if (tail_of(&type, &tail) != 0 || tail > btf->types_size - at - sizeof(type))
            return -1;
        btf->at[n] = (uint32_t)at;
        at += sizeof(type) + tail;
    }
    btf->n_types = n;
    return at == btf->types_size ? 0 : -1;
}

static int parse(struct kp_btf *out)
{
    struct header header;
    const uint8_t *bytes = out->bytes;
    size_t size = out->size;
    if (size < sizeof(header) || size > MOST_BYTES)
        return malformed(out);
    memcpy(&header, bytes, sizeof(header));
    if (header.magic != MAGIC || header.length < sizeof(header) || header.length > size)
        return malformed(out);
    size_t left = size - header.length;
    if (header.type_offset > left || header.type_length > left - header.type_offset ||
        header.string_offset > left || header.string_length > left - header.string_offset)
        return malformed(out);
    out->types = bytes + header.length + header.type_offset;
    out->types_size = header.type_length;
    out->strings = (const char *)bytes + header.length + header.string_offset;
    out->strings_size = header.string_length;
    if (out->strings_size == 0 || out->strings[out->strings_size - 1] != '\0')
        return malformed(out);
    out->at = malloc((out->types_size / sizeof(struct type) + 2) * sizeof(*out->at));
    if (out->at == NULL) {
        kp_btf_free(out);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the kernel's BTF");
    }
    return index_types(out) == 0 ? 0 : malformed(out);
}

int kp_btf_parse(uint8_t *bytes, size_t size, struct kp_btf *out)
{
    *out = (struct kp_btf){.bytes = bytes, .size = size};
    return parse(out);
}

/* Kernels of late have it mapped, which saves copying it page by page. */
static int map(int fd, struct kp_btf *out)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size <= 0 || status.st_size > MOST_BYTES)
        return 0;
    size_t size = (size_t)status.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return 0;
    *out = (struct kp_btf){.bytes = bytes, .size = size, .mapped = 1};
    return 1;
}

static ssize_t read_all(int fd, uint8_t **bytes)
{
    /* The kernel gives a page at a time: valgrind looks at all that was asked for each time. */
    enum { AT_ONCE = 1 << 16 };
    size_t len = 0, room = 8 << 20;
    for (*bytes = malloc(room); *bytes != NULL;) {
        ssize_t n = read(fd, *bytes + len, room - len < AT_ONCE ? room - len : AT_ONCE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)len;
        len += (size_t)n;
        if (len < room)
            continue;
        uint8_t *more = room < MOST_BYTES ? realloc(*bytes, room *= 2) : NULL;
        if (more == NULL)
            break;
        *bytes = more;
    }
    errno = ENOMEM;
    return -1;
}

static int read_into(int fd, const char *path, struct kp_btf *out)
{
    *out = (struct kp_btf){.mapped = 0};
    ssize_t n = read_all(fd, &out->bytes);
    if (n < 0) {
        int failure = errno;
        kp_btf_free(out);
        return kp_fail(KP_E_KERNEL, failure, "cannot read %s", path);
    }
    out->size = (size_t)n;
    return 0;
}

int kp_btf_read(const char *path, struct kp_btf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_fail(KP_E_KERNEL, errno, "this kernel does not describe its types (no %s)", path);
    int rc = map(fd, out) ? 0 : read_into(fd, path, out);
    close(fd);
    return rc == 0 ? parse(out) : rc;
}

void kp_btf_free(struct kp_btf *btf)
{
    if (btf->mapped)
        munmap(btf->bytes, btf->size);
    else
        free(btf->bytes);
    free(btf->at);
    memset(btf, 0, sizeof(*btf));
}

/* ---- looking up ---- */

void kp_btf_find(const struct kp_btf *btf, struct kp_btf_name *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        names[i].id = 0;
    struct type type;
    for (uint32_t id = 1; type_at(btf, id, &type); id++) {
        uint32_t kind = kind_of(&type);
        if (kind != STRUCT && kind != TYPEDEF)
            continue;
        const char *name = string_at(btf, type.name);
        for (size_t i = 0; i < n; i++)
            if (names[i].id == 0 && names[i].kind == kind && names[i].name[0] == name[0] &&
                strcmp(names[i].name, name) == 0)
                names[i].id = id;
    }
}

/* The type behind typedefs and qualifiers. */
static uint32_t behind(const struct kp_btf *btf, uint32_t id)
{
    struct type type;
    for (int i = 0; i < MOST_LINKS && type_at(btf, id, &type); i++) {
        uint32_t kind = kind_of(&type);
        if (kind != TYPEDEF && kind != VOLATILE && kind != CONST && kind != RESTRICT &&
            kind != TYPE_TAG)
            return id;
        id = type.size_or_type;
    }
    return 0;
}

/* A search for a member; its steps are counted, as types may hold themselves over and over. */
struct search {
    const char *name;
    size_t length;
    uint32_t steps;
    uint32_t bits;
    uint32_t type;
};

/* Looks in a structure and in its members without a name. */
static int find_member(const struct kp_btf *btf, uint32_t structure, int depth,
                       struct search *search)
{
    struct type type;
    structure = behind(btf, structure);
    if (depth == MOST_NESTED || !type_at(btf, structure, &type) ||
        (kind_of(&type) != STRUCT && kind_of(&type) != UNION))
        return 0;
    const uint8_t *members = btf->types + btf->at[structure] + sizeof(type);
    for (uint32_t i = 0; i < count_of(&type) && search->steps < MOST_STEPS; i++) {
        struct member member;
        memcpy(&member, members + i * sizeof(member), sizeof(member));
        const char *own = string_at(btf, member.name);
        /* With the flag in `info` the top bits are a bit field's width. */
        uint32_t at = type.info >> 31 ? member.offset & 0xffffff : member.offset;
        search->steps++;
        if (strncmp(own, search->name, search->length) == 0 && own[search->length] == '\0') {
            search->bits += at;
            search->type = member.type;
            return 1;
        }
        if (own[0] == '\0' && find_member(btf, member.type, depth + 1, search)) {
            search->bits += at;
            return 1;
        }
    }
    return 0;
}

int32_t kp_btf_offset(const struct kp_btf *btf, uint32_t structure, const char *path)
{
    struct search search = {.type = structure};
    for (;; path += search.length + 1) {
        search.name = path;
        search.length = strcspn(path, ".");
        if (search.length == 0 || !find_member(btf, search.type, 0, &search))
            return -1;
        if (path[search.length] == '\0')
            return search.bits / 8 <= INT16_MAX ? (int32_t)(search.bits / 8) : -1;
    }
}
