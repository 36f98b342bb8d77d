/* SPDX-License-Identifier: Apache-2.0
 * SPE records added up as they are drained. */
#include "spe_tally.h"

#include "histogram.h"
#include "kperf_core.h"
#include "perf_abi.h"

#include <string.h>

enum { MOST_CELLS = 1 << 21, MOST_LINES = 1 << 19, LINE_BITS = 6 };

struct cell_key {
    uint64_t pc;
    uint64_t events;
    int32_t pid;
    uint32_t source;
    uint16_t bucket; /* of the total latency */
    uint16_t op;
    uint16_t has;
    uint16_t mode;
};

struct line_key {
    uint64_t line; /* address >> LINE_BITS */
    uint64_t pc;
    int32_t pid;
    int32_t tid;
    uint8_t offset;
    uint8_t mode;
    uint8_t writes;
    uint8_t physical;
    int32_t owner; /* whose address it is; 0: everybody's */
};

struct sums {
    uint64_t samples, total, issue, translation;
    uint64_t time; /* of the first */
    int32_t tid, cpu;
};

_Static_assert(sizeof(struct cell_key) % 8 == 0 && sizeof(struct line_key) % 8 == 0, "no gaps");

/* What tells cells apart beside the values: not that a record has a time, or a target. */
static const uint16_t CELL_HAS = KP_SPE_HAS_EVENTS | KP_SPE_HAS_SOURCE | KP_SPE_HAS_OP |
                                 KP_SPE_HAS_TOTAL | KP_SPE_HAS_ISSUE | KP_SPE_HAS_TRANSLATION;

uint32_t kp_spe_mode(uint8_t level)
{
    return (level & 3) == 0 ? KP_MISC_USER : KP_MISC_KERNEL;
}

int kp_spe_tallies_create(struct kp_spe_tallies *tallies, int lines)
{
    memset(tallies, 0, sizeof(*tallies));
    int rc =
        kp_tally_create(&tallies->cells, sizeof(struct cell_key), sizeof(struct sums), MOST_CELLS);
    if (rc == 0 && lines)
        rc = kp_tally_create(&tallies->lines, sizeof(struct line_key), sizeof(struct sums),
                             MOST_LINES);
    return rc;
}

void kp_spe_tallies_destroy(struct kp_spe_tallies *tallies)
{
    kp_tally_destroy(&tallies->cells);
    kp_tally_destroy(&tallies->lines);
}

/* ---- adding ---- */

static void add(struct sums *sums, const struct kp_spe_sample *sample)
{
    const struct kp_spe_record *record = sample->record;
    if (sums->samples++ == 0) {
        sums->time = sample->time;
        sums->tid = sample->tid;
        sums->cpu = sample->cpu;
    }
    sums->total += record->total;
    sums->issue += record->issue;
    sums->translation += record->translation;
}

/* A read-modify-write of memory counts as a write, whatever the operation calls itself. */
static int writes(uint16_t op)
{
    int stores = op & 1, atomic = (op & 0xe2) == 0x02 && op & 4;
    return op >> 8 == 1 && (stores || atomic);
}

static int was_seen_again(const void *value)
{
    const struct sums *sums = value;
    return sums->samples > 1;
}

/* Of very many lines those touched once are forgotten, again and again: hot ones stay. */
static void forget_cold_lines(struct kp_spe_tallies *tallies)
{
    size_t before = tallies->lines.n;
    kp_tally_filter(&tallies->lines, was_seen_again);
    tallies->lines_dropped += before - tallies->lines.n;
}

static void add_line(struct kp_spe_tallies *tallies, const struct kp_spe_sample *sample)
{
    const struct kp_spe_record *record = sample->record;
    int physical = (record->has & KP_SPE_HAS_PA) != 0;
    if (record->op >> 8 != 1 || !(record->has & (KP_SPE_HAS_PA | KP_SPE_HAS_VA)))
        return;
    uint64_t address = physical ? record->pa : record->va;
    int shared = physical || record->va >> 63;
    struct line_key key = {.line = address >> LINE_BITS,
                           .pc = record->pc,
                           .pid = sample->pid,
                           .tid = sample->tid,
                           .offset = address & ((1 << LINE_BITS) - 1),
                           .mode = (uint8_t)kp_spe_mode(record->pc_level),
                           .writes = (uint8_t)writes(record->op),
                           .physical = (uint8_t)physical,
                           .owner = shared ? 0 : sample->pid};
    if (tallies->lines.n == tallies->lines.most)
        forget_cold_lines(tallies);
    struct sums *sums = kp_tally_at(&tallies->lines, &key);
    if (sums == NULL)
        tallies->lines_dropped++;
    else
        add(sums, sample);
}

int kp_spe_tallies_add(struct kp_spe_tallies *tallies, const struct kp_spe_sample *sample)
{
    const struct kp_spe_record *record = sample->record;
    struct cell_key key = {.pc = record->pc,
                           .events = record->events,
                           .pid = sample->pid,
                           .source = record->source,
                           .bucket = (uint16_t)kp_bucket_of(record->total),
                           .op = record->op,
                           .has = record->has & CELL_HAS,
                           .mode = (uint16_t)kp_spe_mode(record->pc_level)};
    struct sums *sums = kp_tally_at(&tallies->cells, &key);
    if (sums == NULL)
        return KP_E_NOMEM;
    add(sums, sample);
    if (tallies->lines.most > 0)
        add_line(tallies, sample);
    return 0;
}

/* ---- into a store ---- */

static int store(struct kp_store *store, const struct sums *sums, struct kp_sample sample,
                 uint32_t event)
{
    sample.time = sums->time;
    sample.cpu = sums->cpu;
    return kp_store_add(store, &sample, event);
}

static int move_cells(struct kp_tally *cells, uint64_t period, uint32_t event, struct kp_store *to)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < cells->n; i++) {
        const struct cell_key *key = kp_tally_key(cells, i);
        const struct sums *sums = kp_tally_value(cells, i);
        struct kp_spe_cell cell = {.events = key->events,
                                   .samples = sums->samples,
                                   .total = sums->total,
                                   .issue = sums->issue,
                                   .translation = sums->translation,
                                   .source = key->source,
                                   .bucket = key->bucket,
                                   .op = key->op,
                                   .has = key->has};
        rc = store(to, sums,
                   (struct kp_sample){.ip = key->pc,
                                      .period = period * sums->samples,
                                      .pid = key->pid,
                                      .tid = sums->tid,
                                      .mode = key->mode,
                                      .raw = (const uint8_t *)&cell,
                                      .raw_size = sizeof(cell)},
                   event);
    }
    return rc;
}

static int move_lines(struct kp_tally *lines, uint64_t period, uint32_t event, struct kp_store *to)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < lines->n; i++) {
        const struct line_key *key = kp_tally_key(lines, i);
        const struct sums *sums = kp_tally_value(lines, i);
        struct kp_spe_line line = {.address = key->line << LINE_BITS,
                                   .samples = sums->samples,
                                   .total = sums->total,
                                   .owner = key->owner,
                                   .offset = key->offset,
                                   .writes = key->writes,
                                   .physical = key->physical};
        rc = store(to, sums,
                   (struct kp_sample){.ip = key->pc,
                                      .period = period * sums->samples,
                                      .pid = key->pid,
                                      .tid = key->tid,
                                      .mode = key->mode,
                                      .raw = (const uint8_t *)&line,
                                      .raw_size = sizeof(line)},
                   event);
    }
    return rc;
}

int kp_spe_tallies_move(struct kp_spe_tallies *tallies, uint64_t period, uint32_t event,
                        struct kp_store *to)
{
    int rc = move_cells(&tallies->cells, period, event, to);
    if (rc == 0 && tallies->lines.most > 0)
        rc = move_lines(&tallies->lines, period, event, to);
    kp_tally_clear(&tallies->cells);
    if (tallies->lines.most > 0)
        kp_tally_clear(&tallies->lines);
    return rc;
}
