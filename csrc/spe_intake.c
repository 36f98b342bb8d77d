/* SPDX-License-Identifier: Apache-2.0
 * What becomes of SPE records: a task and a time for each, then a row or a share in the sums. */
#include "spe_intake.h"

#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- time ---- */

/* As perf_event_open(2) tells for time_zero; time_mask where the counter is short. */
uint64_t kp_spe_to_ns(const struct kp_spe_clock *clock, uint64_t ticks)
{
    if (clock->is_short)
        ticks = clock->cycles + ((ticks - clock->cycles) & clock->mask);
    uint64_t quotient = ticks >> clock->shift;
    uint64_t remainder = ticks & ((1ull << clock->shift) - 1);
    return clock->zero + quotient * clock->mult + ((remainder * clock->mult) >> clock->shift);
}

/* ---- which process a thread belongs to ---- */

enum { FIRST_PIDS = 256 };

static size_t pid_slot(const struct kp_pids *table, int32_t tid)
{
    size_t at = ((uint32_t)tid * 0x9e3779b1u) >> 8 & (table->size - 1);
    while (table->tids[at] != 0 && table->tids[at] != tid)
        at = (at + 1) & (table->size - 1);
    return at;
}

static int grow_pids(struct kp_pids *table)
{
    struct kp_pids grown = {.size = table->size ? table->size * 2 : FIRST_PIDS,
                            .used = table->used};
    grown.tids = calloc(grown.size, sizeof(*grown.tids));
    grown.pids = calloc(grown.size, sizeof(*grown.pids));
    if (grown.tids == NULL || grown.pids == NULL) {
        free(grown.tids);
        free(grown.pids);
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of threads");
    }
    for (size_t i = 0; i < table->size; i++) {
        if (table->tids[i] == 0)
            continue;
        size_t at = pid_slot(&grown, table->tids[i]);
        grown.tids[at] = table->tids[i];
        grown.pids[at] = table->pids[i];
    }
    free(table->tids);
    free(table->pids);
    *table = grown;
    return 0;
}

/* Where memory is short a thread stays unknown, and stands for itself. */
static void know(struct kp_pids *table, int32_t tid, int32_t pid)
{
    if (tid <= 0 || (table->used * 2 >= table->size && grow_pids(table) != 0))
        return;
    size_t at = pid_slot(table, tid);
    table->used += table->tids[at] == 0;
    table->tids[at] = tid;
    table->pids[at] = pid;
}

static int32_t ask_proc(int32_t tid)
{
    char path[40], line[128];
    int pid = tid;
    snprintf(path, sizeof(path), "/proc/%d/status", tid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return tid;
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "Tgid: %d", &pid) != 1)
        ;
    fclose(file);
    return pid;
}

static int32_t pid_of(struct kp_spe_intake *intake, int32_t tid)
{
    if (tid <= 0)
        return tid;
    size_t at = pid_slot(&intake->pids, tid);
    if (intake->pids.tids[at] == tid)
        return intake->pids.pids[at];
    int32_t pid = intake->live ? ask_proc(tid) : -1;
    know(&intake->pids, tid, pid);
    return pid;
}

/* ---- who runs where ---- */

static struct kp_spe_cpu *cpu_at(struct kp_spe_intake *intake, int32_t cpu)
{
    return cpu < 0 || (size_t)cpu >= intake->n_cpus ? NULL : &intake->cpus[cpu];
}

static void begin_turn(struct kp_spe_intake *intake, int32_t cpu, struct kp_turn turn)
{
    struct kp_spe_cpu *state = cpu_at(intake, cpu);
    if (state == NULL)
        return;
    if (state->n_turns == state->room) {
        size_t room = state->room ? state->room * 2 : 64;
        struct kp_turn *turns = realloc(state->turns, room * sizeof(*turns));
        if (turns == NULL)
            return;
        state->turns = turns;
        state->room = room;
    }
    state->turns[state->n_turns++] = turn;
}

/* The last turn that began at or before a time, or NULL. */
static const struct kp_turn *turn_at(const struct kp_spe_cpu *cpu, uint64_t time)
{
    size_t from = 0, to = cpu->n_turns;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (cpu->turns[middle].time <= time)
            from = middle + 1;
        else
            to = middle;
    }
    return from == 0 ? NULL : &cpu->turns[from - 1];
}

void kp_spe_intake_settle(struct kp_spe_intake *intake, int32_t cpu)
{
    struct kp_spe_cpu *state = cpu_at(intake, cpu);
    if (state == NULL || state->n_turns < 2)
        return;
    state->turns[0] = state->turns[state->n_turns - 1];
    state->n_turns = 1;
}

/* ---- side-band ---- */

static void take_switch(struct kp_spe_intake *intake, const uint8_t *record,
                        const struct kp_record_header *header, const struct kp_record_end *end)
{
    struct kp_turn turn = {.time = end->time, .pid = end->pid, .tid = end->tid};
    int32_t next[2] = {0, 0}; /* where the record does not tell: nobody that is watched */
    int out = (header->misc & KP_MISC_SWITCH_OUT) != 0;
    if (out && header->type == KP_RECORD_SWITCH_CPU_WIDE && header->size >= 16 + sizeof(*end))
        memcpy(next, record + sizeof(*header), sizeof(next));
    if (out) {
        turn.pid = next[0];
        turn.tid = next[1];
    }
    know(&intake->pids, turn.tid, turn.pid);
    begin_turn(intake, end->cpu, turn);
}

int kp_spe_intake_side(struct kp_spe_intake *intake, const uint8_t *record, size_t size)
{
    struct kp_record_header header;
    struct kp_record_end end;
    struct kp_side side;
    if (size < sizeof(header) + sizeof(end))
        return 0;
    memcpy(&header, record, sizeof(header));
    memcpy(&end, record + size - sizeof(end), sizeof(end));
    switch (header.type) {
    case KP_RECORD_SWITCH:
    case KP_RECORD_SWITCH_CPU_WIDE:
        take_switch(intake, record, &header, &end);
        return 1;
    case KP_RECORD_ITRACE_START:
        know(&intake->pids, end.tid, end.pid);
        begin_turn(intake, end.cpu,
                   (struct kp_turn){.time = end.time, .pid = end.pid, .tid = end.tid});
        return 1;
    default:
        if (kp_record_side(record, size, &side) == 0)
            know(&intake->pids, side.tid, side.pid);
        return 0;
    }
}

/* ---- records ---- */

struct taking {
    struct kp_spe_intake *intake;
    const struct kp_spe_chunk *chunk;
    struct kp_spe_cpu *cpu;
    struct kp_store *rows;
    struct kp_loss *loss;
};

/* The task by the record's own word, else by the switches, else whoever ran at the chunk's end. */
static void find_task(const struct taking *taking, struct kp_spe_sample *sample)
{
    const struct kp_spe_record *record = sample->record;
    const struct kp_turn *turn = NULL;
    if (record->has & KP_SPE_HAS_CONTEXT && record->context != 0) {
        sample->tid = (int32_t)record->context;
        sample->pid = pid_of(taking->intake, sample->tid);
        return;
    }
    if (record->has & KP_SPE_HAS_TIME && taking->intake->clock.known)
        turn = turn_at(taking->cpu, sample->time);
    sample->pid = turn != NULL ? turn->pid : taking->chunk->pid;
    sample->tid = turn != NULL ? turn->tid : taking->chunk->tid;
}

/* What has no time of its own came with the chunk, or after the record before it. */
static uint64_t time_of(const struct taking *taking, const struct kp_spe_record *record)
{
    const struct kp_spe_clock *clock = &taking->intake->clock;
    int told = record->has & KP_SPE_HAS_TIME && (clock->known || !taking->intake->live);
    if (told)
        taking->cpu->time = clock->known ? kp_spe_to_ns(clock, record->time) : record->time;
    else if (taking->chunk->time != 0)
        return taking->chunk->time;
    return taking->cpu->time;
}

static int add_row(const struct taking *taking, const struct kp_spe_sample *sample)
{
    const struct kp_spe_record *record = sample->record;
    struct kp_sample row = {.ip = record->pc,
                            .time = sample->time,
                            .period = taking->intake->options.period,
                            .pid = sample->pid,
                            .tid = sample->tid,
                            .cpu = sample->cpu,
                            .mode = kp_spe_mode(record->pc_level),
                            .raw = (const uint8_t *)record,
                            .raw_size = sizeof(*record)};
    return kp_store_add(taking->rows, &row, taking->intake->event);
}

static void take(void *context, const struct kp_spe_record *record)
{
    const struct taking *taking = context;
    struct kp_spe_intake *intake = taking->intake;
    const struct kp_spe_options *options = &intake->options;
    if (options->any_events != 0 && !(record->events & options->any_events)) {
        intake->report.filtered++;
        return;
    }
    struct kp_spe_sample sample = {
        .record = record, .time = time_of(taking, record), .cpu = taking->chunk->cpu};
    int rc = 0;
    find_task(taking, &sample);
    if (options->flags & KP_SPE_ROWS)
        rc = add_row(taking, &sample);
    if (options->flags & KP_SPE_SUMS && kp_spe_tallies_add(&intake->tallies, &sample) != 0)
        rc = KP_E_NOMEM;
    if (rc == 0)
        taking->loss->samples++;
    else
        taking->loss->dropped++;
}

void kp_spe_intake_aux(struct kp_spe_intake *intake, const struct kp_spe_chunk *chunk,
                       const uint8_t *bytes, size_t n, struct kp_store *rows, struct kp_loss *loss)
{
    struct kp_spe_cpu *cpu = cpu_at(intake, chunk->cpu);
    if (cpu == NULL)
        return;
    struct taking taking = {
        .intake = intake, .chunk = chunk, .cpu = cpu, .rows = rows, .loss = loss};
    know(&intake->pids, chunk->tid, chunk->pid);
    kp_spe_feed(&cpu->decoder, chunk->offset, bytes, n, take, &taking);
}

/* ---- creation ---- */

int kp_spe_intake_create(struct kp_spe_intake *intake, const struct kp_spe_options *options,
                         size_t n_cpus, uint32_t event)
{
    *intake = (struct kp_spe_intake){.options = *options, .event = event};
    intake->cpus = calloc(n_cpus, sizeof(*intake->cpus));
    intake->n_cpus = intake->cpus == NULL ? 0 : n_cpus;
    if (intake->cpus == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for %zu CPUs", n_cpus);
    int rc = grow_pids(&intake->pids);
    if (rc == 0 && options->flags & KP_SPE_SUMS)
        rc = kp_spe_tallies_create(&intake->tallies, (options->flags & KP_SPE_LINES) != 0);
    return rc;
}

void kp_spe_intake_destroy(struct kp_spe_intake *intake)
{
    for (size_t i = 0; i < intake->n_cpus; i++)
        free(intake->cpus[i].turns);
    free(intake->cpus);
    free(intake->pids.tids);
    free(intake->pids.pids);
    kp_spe_tallies_destroy(&intake->tallies);
    memset(intake, 0, sizeof(*intake));
}

struct kp_spe_report kp_spe_intake_report(struct kp_spe_intake *intake)
{
    struct kp_spe_report report = intake->report;
    memset(&intake->report, 0, sizeof(intake->report));
    for (size_t i = 0; i < intake->n_cpus; i++) {
        struct kp_spe_stats *stats = &intake->cpus[i].decoder.stats;
        report.bytes += stats->bytes;
        report.records += stats->records;
        report.corrupt += stats->corrupt;
        report.cut += stats->cut;
        memset(stats, 0, sizeof(*stats));
    }
    report.lines_dropped = intake->tallies.lines_dropped;
    intake->tallies.lines_dropped = 0;
    return report;
}
