/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_BTF_H
#define KPERF_BTF_H

#include <stddef.h>
#include <stdint.h>

/* The kernel's description of its own types. Nothing in it is trusted. */
struct kp_btf {
    uint8_t *bytes;
    size_t size;
    int mapped;           /* bytes are a mapped file */
    const uint8_t *types; /* within bytes, as the strings are */
    size_t types_size;
    const char *strings;
    size_t strings_size;
    uint32_t *at; /* where each type stands in types; number 0 is void */
    size_t n_types;
};

enum kp_btf_kind { KP_BTF_STRUCT = 4, KP_BTF_TYPEDEF = 8 };

struct kp_btf_name {
    const char *name;
    enum kp_btf_kind kind;
    uint32_t id; /* out; 0: there is none */
};

/* Takes over the bytes, which are free()d with it or on failure. */
int kp_btf_parse(uint8_t *bytes, size_t size, struct kp_btf *out);
int kp_btf_read(const char *path, struct kp_btf *out);
void kp_btf_free(struct kp_btf *btf);

/* Looks for all names in one pass. */
void kp_btf_find(const struct kp_btf *btf, struct kp_btf_name *names, size_t n);

/* The offset in bytes of a member such as "thread_info.status", or -1. */
int32_t kp_btf_offset(const struct kp_btf *btf, uint32_t structure, const char *path);

#endif
