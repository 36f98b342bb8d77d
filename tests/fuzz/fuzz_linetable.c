/* SPDX-License-Identifier: Apache-2.0
 * libFuzzer harness: a .debug_line section, in which the lines of some addresses are looked up. */
#include "kperf_core.h"

#include <stdlib.h>
#include <string.h>

enum { N_ADDRESSES = 260 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t addresses[N_ADDRESSES];
    struct kp_line found[N_ADDRESSES];
    for (uint64_t i = 0; i < N_ADDRESSES; i++)
        addresses[i] = i < 256 ? 0x1000 + i * 3 : UINT64_MAX - (N_ADDRESSES - 1 - i);
    uint8_t *section = malloc(size != 0 ? size : 1);
    if (section == NULL)
        return 0;
    if (size != 0)
        memcpy(section, data, size);
    kp_lines_find(section, size, addresses, N_ADDRESSES, found);
    for (size_t i = 0; i < N_ADDRESSES; i++)
        if (found[i].program != KP_NO_PROGRAM && found[i].program >= size)
            abort();
    free(section);
    return 0;
}
