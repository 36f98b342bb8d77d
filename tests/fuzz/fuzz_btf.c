/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a description of the kernel's types. */
#include "btf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile int32_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const members[] = {"before", "word", "nested.last",
                                          "loop.x", "flag", "a.b.c"};
    struct kp_btf btf;
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data, size);
    if (kp_btf_parse(bytes, size, &btf) != 0)
        return 0;
    struct kp_btf_name names[] = {{"outer", KP_BTF_STRUCT, 0}, {"loop", KP_BTF_TYPEDEF, 0}};
    kp_btf_find(&btf, names, 2);
    for (uint32_t id = 0; id < btf.n_types && id < 32; id++)
        for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
            sink = kp_btf_offset(&btf, id, members[i]);
    sink = kp_btf_offset(&btf, names[0].id, "nested.last");
    kp_btf_free(&btf);
    return 0;
}
