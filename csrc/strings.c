/* SPDX-License-Identifier: Apache-2.0
 * Interned strings: names of programs and files, each kept once. */
#include "strings.h"

#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1 << 10 };

int kp_strings_create(struct kp_strings *strings, size_t most_bytes)
{
    memset(strings, 0, sizeof(*strings));
    int rc = kp_column_create(&strings->bytes, 1, most_bytes);
    if (rc == 0)
        rc = kp_column_create(&strings->offset, sizeof(uint64_t), most_bytes / 4);
    strings->slots = calloc(FIRST_SLOTS, sizeof(*strings->slots));
    strings->n_slots = FIRST_SLOTS;
    if (rc == 0 && strings->slots == NULL)
        rc = kp_fail(KP_E_NOMEM, ENOMEM, "no memory for names");
    uint32_t empty;
    if (rc == 0)
        rc = kp_strings_add(strings, "", 0, &empty);
    if (rc != 0)
        kp_strings_destroy(strings);
    return rc;
}

void kp_strings_destroy(struct kp_strings *strings)
{
    kp_column_destroy(&strings->bytes);
    kp_column_destroy(&strings->offset);
    free(strings->slots);
    memset(strings, 0, sizeof(*strings));
}

static size_t hash(const char *text, size_t size)
{
    uint64_t mixed = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        mixed = (mixed ^ (uint8_t)text[i]) * 0x100000001b3u;
    return (size_t)(mixed ^ mixed >> 31);
}

/* Slots hold number + 1, so that 0 is free. */
static uint32_t *find_slot(const struct kp_strings *strings, uint32_t *slots, size_t n_slots,
                           const char *text, size_t size)
{
    size_t at = hash(text, size) & (n_slots - 1);
    for (; slots[at] != 0; at = (at + 1) & (n_slots - 1)) {
        const char *kept = kp_strings_text(strings, slots[at] - 1);
        if (strncmp(kept, text, size) == 0 && kept[size] == '\0')
            break;
    }
    return &slots[at];
}

static int grow_slots(struct kp_strings *strings)
{
    size_t n_slots = strings->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for names");
    for (uint32_t number = 0; number < strings->n; number++) {
        const char *text = kp_strings_text(strings, number);
        *find_slot(strings, slots, n_slots, text, strlen(text)) = number + 1;
    }
    free(strings->slots);
    strings->slots = slots;
    strings->n_slots = n_slots;
    return 0;
}

int kp_strings_add(struct kp_strings *strings, const char *text, size_t size, uint32_t *out)
{
    size = strnlen(text, size);
    uint32_t *slot = find_slot(strings, strings->slots, strings->n_slots, text, size);
    if (*slot != 0) {
        *out = *slot - 1;
        return 0;
    }
    int rc = kp_column_grow(&strings->bytes, strings->used + size + 1);
    if (rc == 0)
        rc = kp_column_grow(&strings->offset, (size_t)strings->n + 1);
    if (rc != 0)
        return rc;
    memcpy(strings->bytes.base + strings->used, text, size);
    strings->bytes.base[strings->used + size] = '\0';
    ((uint64_t *)strings->offset.base)[strings->n] = strings->used;
    strings->used += size + 1;
    *out = strings->n++;
    *slot = *out + 1;
    return (size_t)strings->n * 2 > strings->n_slots ? grow_slots(strings) : 0;
}
