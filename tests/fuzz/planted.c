/* SPDX-License-Identifier: Apache-2.0
 * A fault for the fuzzers to find: they are tested too. */
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, 8);
    if (copy == NULL)
        return 0;
    if (size > 0)
        sink = copy[size > 40 && data[0] == 0xff ? size : 0];
    free(copy);
    return 0;
}
