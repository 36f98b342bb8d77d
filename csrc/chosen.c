/* SPDX-License-Identifier: Apache-2.0
 * Some processes (or threads) among all that a CPU runs, as births and ends are recorded.
 *
 * Rings are emptied one after the other, so a birth may be learned after the child's first samples,
 * and after the births of the child's own children. Nothing is decided before it is known: who is
 * born of an unknown parent is linked to it. */
#include "chosen.h"

#include "error.h"
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024, MOST_GENERATIONS = 4096 };

struct holder {
    int32_t number; /* 0: free */
    int32_t parent; /* decides for it while its own choice is not known */
    uint32_t ended; /* in which read, from 1 on; 0: it lives */
    uint8_t choice;
};

struct kp_chosen {
    int by_thread; /* numbers are those of threads, else of processes */
    int inherits;
    uint32_t read; /* the one that comes next */
    struct holder *holders;
    size_t size, used, ended; /* size is a power of two */
};

static struct holder *slot_of(const struct kp_chosen *chosen, int32_t number)
{
    size_t at = (uint32_t)number * 2654435761u & (chosen->size - 1);
    while (chosen->holders[at].number != 0 && chosen->holders[at].number != number)
        at = (at + 1) & (chosen->size - 1);
    return &chosen->holders[at];
}

/* Records of an ended one may come until the read after its end, from a ring emptied before it. */
static int is_over(const struct kp_chosen *chosen, const struct holder *holder)
{
    return holder->ended != 0 && holder->ended + 1 < chosen->read;
}

/* Lays the table out anew, without those that are over. */
static int lay_out(struct kp_chosen *chosen, size_t size)
{
    struct kp_chosen old = *chosen;
    struct holder *holders = calloc(size, sizeof(*holders));
    if (holders == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of processes");
    chosen->holders = holders;
    chosen->size = size;
    chosen->used = chosen->ended = 0;
    for (size_t i = 0; i < old.size; i++) {
        if (old.holders[i].number == 0 || is_over(&old, &old.holders[i]))
            continue;
        *slot_of(chosen, old.holders[i].number) = old.holders[i];
        chosen->used++;
        chosen->ended += old.holders[i].ended != 0;
    }
    free(old.holders);
    return 0;
}

/* The holder of a number, made where it is new; NULL without memory. */
static struct holder *holder_of(struct kp_chosen *chosen, int32_t number)
{
    if (chosen->used * 2 >= chosen->size && lay_out(chosen, chosen->size * 2) != 0)
        return NULL;
    struct holder *holder = slot_of(chosen, number);
    chosen->used += holder->number == 0;
    holder->number = number;
    return holder;
}

/* ---- who lives ---- */

static int want(struct kp_chosen *chosen, int32_t number)
{
    struct holder *holder = holder_of(chosen, number);
    if (holder == NULL)
        return KP_E_NOMEM;
    holder->choice = KP_CHOICE_WANTED;
    return 0;
}

static int pass_by(struct kp_chosen *chosen, int32_t number)
{
    struct holder *holder = holder_of(chosen, number);
    if (holder == NULL)
        return KP_E_NOMEM;
    if (holder->choice == KP_CHOICE_UNKNOWN && holder->parent == 0)
        holder->choice = KP_CHOICE_OTHER;
    return 0;
}

static int pass_by_threads(struct kp_chosen *chosen, int32_t pid)
{
    struct kp_tasks tasks = {.len = 0};
    (void)kp_tasks_add_process(&tasks, pid); /* one that has ended has none */
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < tasks.len; i++)
        rc = pass_by(chosen, tasks.items[i].tid);
    kp_tasks_free(&tasks);
    return rc;
}

int kp_chosen_list_others(struct kp_chosen *chosen)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return kp_fail(KP_E_SYSTEM, errno, "cannot list the processes");
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(proc)) != NULL;) {
        int32_t pid = atoi(entry->d_name);
        if (pid > 0)
            rc = chosen->by_thread ? pass_by_threads(chosen, pid) : pass_by(chosen, pid);
    }
    closedir(proc);
    return rc;
}

int kp_chosen_create(const struct kp_target *target, int inherits, struct kp_chosen **out)
{
    struct kp_chosen *chosen = calloc(1, sizeof(*chosen));
    if (chosen == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for the list of processes");
    chosen->by_thread = target->n_pids == 0;
    chosen->inherits = inherits;
    chosen->read = 1;
    int rc = lay_out(chosen, FIRST_SIZE);
    for (uint32_t i = 0; rc == 0 && i < target->n_tids; i++)
        rc = want(chosen, target->tids[i]);
    for (uint32_t i = 0; rc == 0 && i < target->n_pids; i++) {
        int32_t process = kp_task_process(target->pids[i]); /* any thread's number stands for it */
        rc = want(chosen, process > 0 ? process : target->pids[i]);
    }
    if (rc != 0) {
        kp_chosen_destroy(chosen);
        return rc;
    }
    *out = chosen;
    return 0;
}

void kp_chosen_destroy(struct kp_chosen *chosen)
{
    if (chosen == NULL)
        return;
    free(chosen->holders);
    free(chosen);
}

/* ---- births and ends ---- */

static int learn_birth(struct kp_chosen *chosen, int32_t child, int32_t parent)
{
    struct holder *holder = holder_of(chosen, child);
    if (holder == NULL)
        return KP_E_NOMEM;
    chosen->ended -= holder->ended != 0;
    *holder = (struct holder){.number = child, .parent = chosen->inherits ? parent : 0};
    if (!chosen->inherits)
        holder->choice = KP_CHOICE_OTHER;
    else if (slot_of(chosen, parent)->number != 0)
        holder->choice = slot_of(chosen, parent)->choice; /* the parent's number may change hands */
    return 0;
}

int kp_chosen_learn(struct kp_chosen *chosen, const struct kp_side *side)
{
    int32_t number = chosen->by_thread ? side->tid : side->pid;
    if (side->kind == KP_SIDE_FORK && number > 0) {
        int32_t parent = chosen->by_thread ? side->ptid : side->ppid;
        return number == parent ? 0 : learn_birth(chosen, number, parent);
    }
    struct holder *holder = slot_of(chosen, number);
    if (side->kind == KP_SIDE_EXIT && side->tid == number && holder->number != 0) {
        chosen->ended += holder->ended == 0;
        holder->ended = chosen->read;
    }
    return 0;
}

/* ---- whose a sample is ---- */

enum kp_choice kp_chosen_at_last(const struct kp_chosen *chosen, int32_t pid, int32_t tid)
{
    int32_t number = chosen->by_thread ? tid : pid;
    for (int i = 0; number > 0 && i < MOST_GENERATIONS; i++) {
        const struct holder *holder = slot_of(chosen, number);
        if (holder->choice != KP_CHOICE_UNKNOWN)
            return holder->choice;
        if (holder->parent == 0)
            return KP_CHOICE_UNKNOWN;
        number = holder->parent;
    }
    return KP_CHOICE_OTHER; /* an idle CPU, or a task that is no more */
}

enum kp_choice kp_chosen_of(const struct kp_chosen *chosen, int32_t pid, int32_t tid)
{
    int32_t number = chosen->by_thread ? tid : pid;
    return number > 0 && slot_of(chosen, number)->ended ? KP_CHOICE_UNKNOWN
                                                        : kp_chosen_at_last(chosen, pid, tid);
}

/* ---- for a long run ---- */

void kp_chosen_settle(struct kp_chosen *chosen)
{
    chosen->read++;
    if (chosen->ended < FIRST_SIZE / 4 || chosen->ended * 2 < chosen->used)
        return;
    /* What a parent that will be forgotten decides is decided now. */
    for (size_t i = 0; i < chosen->size; i++) {
        struct holder *holder = &chosen->holders[i];
        if (holder->number != 0)
            holder->choice = (uint8_t)kp_chosen_at_last(chosen, holder->number, holder->number);
    }
    (void)lay_out(chosen, chosen->size); /* without memory to forget in, all is kept */
}
