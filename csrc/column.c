/* SPDX-License-Identifier: Apache-2.0
 * Arrays that grow in place within a reserved range of addresses. */
#include "column.h"

#include "error.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { STEP = 1 << 20 };

static size_t round_up(size_t bytes)
{
    return (bytes + STEP - 1) / STEP * STEP;
}

int kp_column_create(struct kp_column *column, size_t width, size_t most_items)
{
    size_t bytes = round_up(width * most_items);
    /* Without access rights the range costs nothing, whatever the overcommit policy is. */
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return kp_fail(KP_E_NOMEM, errno, "no address space for %zu items", most_items);
    *column = (struct kp_column){.base = base, .width = width, .reserved = bytes};
    return 0;
}

void kp_column_destroy(struct kp_column *column)
{
    if (column->base != NULL)
        munmap(column->base, column->reserved);
    memset(column, 0, sizeof(*column));
}

int kp_column_grow(struct kp_column *column, size_t items)
{
    size_t bytes = items * column->width;
    if (bytes <= column->usable)
        return 0;
    /* By an eighth, so that the number of system calls stays small. */
    size_t usable = round_up(bytes + column->usable / 8);
    if (usable > column->reserved)
        usable = column->reserved;
    if (bytes > usable)
        return kp_fail(KP_E_NOMEM, ENOMEM, "the reserved range is full");
    if (mprotect(column->base, usable, PROT_READ | PROT_WRITE) != 0)
        return kp_fail(KP_E_NOMEM, errno, "no memory for %zu bytes", usable);
    column->usable = usable;
    return 0;
}
