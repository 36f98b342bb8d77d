/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as one record, with any fields asked for. The first 8 bytes choose the fields. */
#include "perf_abi.h"
#include "record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

/* Reads all of it, so that a byte outside of the record is noticed. */
static void touch(const void *bytes, size_t size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += ((const uint8_t *)bytes)[i];
    sink = sum;
}

static void try_sample(const uint8_t *record, size_t size, uint64_t type, int has_branch_index)
{
    struct kp_sample sample;
    if (kp_record_sample(record, size, type, has_branch_index, &sample) != 0)
        return;
    touch(sample.chain, sample.n_chain * 8);
    touch(sample.raw, sample.raw_size);
    touch(sample.branches, sample.n_branches * 24);
}

static void try_side(const uint8_t *record, size_t size)
{
    struct kp_side side;
    uint64_t time, id;
    if (kp_record_trailer(record, size, &time, &id) == 0)
        sink = time + id;
    if (kp_record_side(record, size, &side) != 0)
        return;
    touch(side.name, side.name_size);
    touch(side.build_id, side.build_id_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t type;
    if (size < sizeof(type) + sizeof(struct kp_record_header))
        return 0;
    memcpy(&type, data, sizeof(type));
    size -= sizeof(type);
    uint8_t *record = malloc(size); /* a ring gives whole records only */
    if (record == NULL)
        return 0;
    memcpy(record, data + sizeof(type), size);
    try_sample(record, size, type, 0);
    try_sample(record, size, type, 1);
    try_side(record, size);
    free(record);
    return 0;
}
