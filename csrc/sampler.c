/* SPDX-License-Identifier: Apache-2.0
 * Sampling: a session whose events write into one ring a CPU, a thread that empties them into a
 * store, and what is known of the processes meanwhile. */
#include "aux.h"
#include "count.h"
#include "descriptors.h"
#include "drain.h"
#include "error.h"
#include "intake.h"
#include "perf_abi.h"
#include "session.h"
#include "space.h"
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define IOC_ID 0x80082407UL

/* ---- the sampler ---- */

struct kp_sampler {
    struct kp_session *session;
    struct kp_session_hooks hooks;
    struct kp_drain drain;
    struct kp_intake intake; /* under the drain's lock */
    pthread_mutex_t spaces_lock;
    struct kp_spaces *spaces;
    DIR *proc;          /* while a scan of all processes goes on */
    struct kp_aux *aux; /* NULL: no SPE */
    size_t smallest_ring;
    struct kp_choosing choosing;
    int no_build_id;
    int system_wide;
};

enum { RECORDS_TAKE_NS = 1000000000 };

/* In the session's clock. */
static uint64_t now_ns(const struct kp_sampler *sampler)
{
    struct timespec now;
    uint64_t perf = sampler->aux != NULL ? kp_clocks_now(&sampler->aux->clocks) : 0;
    if (perf != 0)
        return perf;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_record(void *context, const uint8_t *record, size_t size)
{
    struct kp_sampler *sampler = context;
    if (sampler->aux != NULL &&
        kp_aux_take(sampler->aux, &sampler->intake.taken, record, size) != 0)
        return;
    kp_intake_take(&sampler->intake, record, size);
}

/* ---- opening ---- */

static const uint64_t TRACKING =
    KP_ATTR_MMAP | KP_ATTR_MMAP2 | KP_ATTR_COMM | KP_ATTR_COMM_EXEC | KP_ATTR_TASK;

static void prepare_sampling(const struct kp_sampler *sampler, const struct kp_event *event,
                             struct kp_attr *attr)
{
    attr->read_format = KP_FORMAT_ENABLED | KP_FORMAT_RUNNING; /* each is read by itself */
    attr->clockid = CLOCK_MONOTONIC;
    attr->flags |= KP_ATTR_USE_CLOCKID | KP_ATTR_SAMPLE_ID_ALL;
    attr->sample_type = kp_intake_sample_type(&sampler->intake, event);
    if (event->flags & KP_EVENT_TRACKING) {
        /* From the start, so that nothing of what happens before the enabling is missed. */
        attr->flags &= ~(KP_ATTR_DISABLED | KP_ATTR_ENABLE_ON_EXEC);
        attr->flags |= TRACKING | KP_ATTR_EXCLUDE_KERNEL | KP_ATTR_EXCLUDE_HV;
        attr->sample_type &= ~(uint64_t)KP_SAMPLE_BRANCH_STACK; /* refused where it is empty */
        if (!sampler->no_build_id)
            attr->flags |= KP_ATTR_BUILD_ID;
        return;
    }
    attr->sample_period = event->period;
    if (event->flags & KP_EVENT_FREQUENCY)
        attr->flags |= KP_ATTR_FREQ;
    attr->branch_sample_type = sampler->intake.sampling.branch_sample_type;
    attr->sample_max_stack = (uint16_t)sampler->intake.sampling.max_stack;
}

static void prepare_attr(void *context, const struct kp_event *event, struct kp_attr *attr)
{
    const struct kp_sampler *sampler = context;
    prepare_sampling(sampler, event, attr);
    if (sampler->aux != NULL)
        kp_aux_prepare(event, attr);
}

static int give_way(void *context, const struct kp_event *event)
{
    struct kp_sampler *sampler = context;
    if (!(event->flags & KP_EVENT_TRACKING) || sampler->no_build_id)
        return 0;
    sampler->no_build_id = 1; /* before Linux 5.12: the path and the inode must do */
    return 1;
}

static int send_to_ring(void *context, int32_t tid, uint32_t index, int32_t cpu, int fd)
{
    (void)tid;
    struct kp_sampler *sampler = context;
    struct kp_ring *ring;
    uint64_t id;
    if (ioctl(fd, IOC_ID, &id) != 0)
        return kp_fail_at(KP_E_SYSTEM, errno, (int32_t)index, cpu, -1, "cannot identify the event");
    int rc = kp_drain_ring(&sampler->drain, cpu, sampler->intake.sampling.ring_bytes, &ring);
    if (rc != 0)
        return rc;
    if (ring->size < sampler->smallest_ring)
        sampler->smallest_ring = ring->size;
    pthread_mutex_lock(&sampler->drain.lock);
    rc = kp_intake_know(&sampler->intake, id, index);
    pthread_mutex_unlock(&sampler->drain.lock);
    if (rc == 0)
        rc = kp_ring_join(ring, fd);
    if (rc == 0 && sampler->aux != NULL && index == sampler->aux->spe.event)
        rc = kp_aux_map(sampler->aux, cpu, fd, ring);
    return rc;
}

/* Threads of a process stand in a row: its maps are read once. */
static int scan_another(struct kp_sampler *sampler, int32_t pid, int32_t *last)
{
    if (pid <= 0 || pid == *last)
        return 0;
    *last = pid;
    return kp_spaces_scan(sampler->spaces, pid, now_ns(sampler));
}

/* The maps of what is watched already; a command that has yet to exec will tell its own. */
static int scan_targets(struct kp_sampler *sampler)
{
    const struct kp_session *session = sampler->session;
    int32_t last = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < session->n_tasks; i++)
        rc = scan_another(sampler, session->tasks[i].id.pid, &last);
    return rc;
}

/* Everybody who lives is known before the first sample comes. */
static int choose(struct kp_sampler *sampler, const struct kp_target *target)
{
    pthread_mutex_lock(&sampler->drain.lock);
    int rc = kp_chosen_list_others(sampler->intake.chosen);
    kp_drain_all(&sampler->drain); /* who was born while they were listed */
    pthread_mutex_unlock(&sampler->drain.lock);
    int32_t last = 0;
    for (uint32_t i = 0; rc == 0 && i < target->n_pids; i++)
        rc = scan_another(sampler, kp_task_process(target->pids[i]), &last);
    for (uint32_t i = 0; rc == 0 && i < target->n_tids; i++)
        rc = scan_another(sampler, kp_task_process(target->tids[i]), &last);
    return rc;
}

/* One process a call, so that the rings are looked after between them. */
static int scan_next(void *context)
{
    struct kp_sampler *sampler = context;
    struct dirent *entry;
    while ((entry = readdir(sampler->proc)) != NULL) {
        int32_t pid = atoi(entry->d_name);
        if (pid <= 0)
            continue;
        pthread_mutex_lock(&sampler->spaces_lock);
        int rc = kp_spaces_scan(sampler->spaces, pid, now_ns(sampler));
        pthread_mutex_unlock(&sampler->spaces_lock);
        return rc == 0;
    }
    return 0;
}

static int have_chosen(struct kp_sampler *sampler, const struct kp_target *target, uint32_t flags)
{
    struct kp_chosen *chosen;
    int rc = kp_chosen_create(target, (flags & KP_INHERIT) != 0, &chosen);
    return rc != 0 ? rc : kp_intake_choose(&sampler->intake, chosen);
}

/* The events of the target, or of everybody, from whose samples the target's are chosen. */
static int open_session(struct kp_sampler *sampler, const struct kp_event *events, size_t n_events,
                        const struct kp_target *target, uint32_t flags)
{
    static const struct kp_target everybody = {.cgroup_fd = -1};
    if (sampler->intake.chosen != NULL) {
        target = &everybody;
        flags &= ~(uint32_t)KP_INHERIT;
    }
    sampler->intake.left_out = sampler->drain.tid;
    return kp_session_open(events, n_events, target, flags, &sampler->hooks, sampler->drain.tid,
                           &sampler->session);
}

static int open_parts(struct kp_sampler *sampler, const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, int chooses,
                      const struct kp_sampling *sampling, uint32_t flags)
{
    size_t n_rings = kp_events_rings(events, n_events);
    int rc = kp_intake_create(&sampler->intake, events, n_events, sampling);
    if (rc == 0 && chooses)
        rc = have_chosen(sampler, target, flags);
    if (rc == 0 && sampling->spe != NULL)
        rc = kp_aux_create(sampling->spe, n_rings, (uint32_t)n_events - 1, &sampler->aux);
    if (rc == 0)
        rc = kp_spaces_create(&sampler->spaces);
    if (rc == 0)
        rc = kp_drain_start(&sampler->drain, n_rings, take_record, scan_next, sampler);
    if (rc == 0)
        rc = kp_descriptors_reserve(events[0].n_cpus);
    if (rc == 0) {
        sampler->drain.perf_clock = sampler->aux != NULL;
        rc =
            kp_drain_rings(&sampler->drain, events[0].cpus, events[0].n_cpus, sampling->ring_bytes);
    }
    if (rc == 0)
        rc = open_session(sampler, events, n_events, target, flags);
    if (rc == 0 && sampler->aux != NULL)
        kp_aux_attach(sampler->aux, sampler->session, (flags & KP_ENABLE_ON_EXEC) != 0);
    if (rc == 0 && !sampler->system_wide && !(flags & KP_ENABLE_ON_EXEC))
        rc = chooses ? choose(sampler, target) : scan_targets(sampler);
    return rc;
}

static int create(const struct kp_event *events, size_t n_events, const struct kp_target *target,
                  int chooses, const struct kp_sampling *sampling, uint32_t flags,
                  struct kp_sampler **out)
{
    struct kp_sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for a session");
    sampler->smallest_ring = SIZE_MAX;
    sampler->system_wide = target->n_pids == 0 && target->n_tids == 0;
    sampler->hooks = (struct kp_session_hooks){
        .prepare = prepare_attr, .give_way = give_way, .opened = send_to_ring, .context = sampler};
    pthread_mutex_init(&sampler->spaces_lock, NULL);
    int rc = open_parts(sampler, events, n_events, target, chooses, sampling, flags);
    if (rc != 0) {
        kp_sampler_destroy(sampler);
        return rc;
    }
    *out = sampler;
    return 0;
}

/* Not of SPE, whose records tell no process by themselves, nor of a command: it is one thread, for
 * which the events take no more descriptors than for everybody. */
static int may_choose(const struct kp_target *target, const struct kp_sampling *sampling,
                      uint32_t flags)
{
    return (target->n_pids == 0) != (target->n_tids == 0) && target->cgroup_fd < 0 &&
           sampling->spe == NULL && !(flags & KP_ENABLE_ON_EXEC);
}

int kp_sampler_create(const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, const struct kp_sampling *sampling,
                      uint32_t flags, struct kp_sampler **out)
{
    int rc = create(events, n_events, target, 0, sampling, flags, out);
    if (rc != KP_E_FILES || !may_choose(target, sampling, flags))
        return rc;
    struct kp_error refusal = *kp_last_error();
    if (create(events, n_events, target, 1, sampling, flags, out) != 0)
        return kp_fail_budget(KP_E_FILES, refusal.sys_errno, refusal.needed, refusal.limit,
                              refusal.message);
    (*out)->choosing = (struct kp_choosing){.needed = refusal.needed, .limit = refusal.limit};
    return 0;
}

int kp_sampler_choosing(struct kp_sampler *sampler, struct kp_choosing *out)
{
    *out = sampler->choosing;
    return 0;
}

void kp_sampler_destroy(struct kp_sampler *sampler)
{
    if (sampler == NULL)
        return;
    kp_drain_stop(&sampler->drain);
    kp_aux_destroy(sampler->aux);
    kp_session_destroy(sampler->session);
    if (sampler->proc != NULL)
        closedir(sampler->proc);
    kp_intake_destroy(&sampler->intake);
    kp_spaces_destroy(sampler->spaces);
    pthread_mutex_destroy(&sampler->spaces_lock);
    free(sampler);
}

void kp_sampler_abandon(struct kp_sampler *sampler)
{
    kp_session_abandon(sampler->session);
    kp_drain_abandon(&sampler->drain);
    if (sampler->proc != NULL)
        close(dirfd(sampler->proc));
}

struct kp_session *kp_sampler_session(struct kp_sampler *sampler)
{
    return sampler->session;
}

/* ---- use ---- */

static int switch_session(struct kp_sampler *sampler, int on)
{
    if (sampler->aux != NULL)
        return kp_aux_switch(sampler->aux, on);
    return on ? kp_session_enable(sampler->session) : kp_session_disable(sampler->session);
}

int kp_sampler_enable(struct kp_sampler *sampler)
{
    int scans = sampler->system_wide && sampler->proc == NULL;
    if (scans && (sampler->proc = opendir("/proc")) == NULL)
        return kp_fail(KP_E_SYSTEM, errno, "cannot list the processes");
    int rc = switch_session(sampler, 1);
    if (rc == 0 && scans)
        kp_drain_begin_work(&sampler->drain);
    return rc;
}

int kp_sampler_disable(struct kp_sampler *sampler)
{
    return switch_session(sampler, 0);
}

int kp_sampler_count(struct kp_sampler *sampler, uint64_t *out)
{
    int rc = kp_session_check_owner(sampler->session);
    if (rc != 0)
        return rc;
    *out = 0;
    pthread_mutex_lock(&sampler->drain.lock);
    kp_drain_all(&sampler->drain);
    for (size_t i = 0; i < sampler->intake.n_events; i++)
        *out += sampler->intake.taken.loss[i].samples;
    pthread_mutex_unlock(&sampler->drain.lock);
    return 0;
}

static int resolve(struct kp_sampler *sampler, struct kp_taken *taken, struct kp_aux_taken *aux,
                   struct kp_samples **out)
{
    int rc = kp_taken_finish(taken, sampler->intake.n_events, sampler->spaces, out);
    if (rc != 0)
        return rc;
    if (sampler->aux == NULL) {
        /* A record is complete well before this. Without memory to forget in, all is kept. */
        (void)kp_spaces_settle(sampler->spaces, now_ns(sampler) - RECORDS_TAKE_NS);
        return 0;
    }
    /* An AUX area that fills slowly may hold older ones: nothing is forgotten. */
    rc = kp_aux_tell(aux, sampler->spaces, *out);
    if (rc != 0)
        kp_samples_destroy(*out);
    return rc;
}

static int finish(struct kp_sampler *sampler, struct kp_taken *taken, struct kp_aux_taken *aux,
                  struct kp_samples **out)
{
    pthread_mutex_lock(&sampler->spaces_lock);
    int rc = resolve(sampler, taken, aux, out);
    pthread_mutex_unlock(&sampler->spaces_lock);
    if (rc == 0)
        (*out)->ring_bytes = sampler->smallest_ring == SIZE_MAX ? 0 : sampler->smallest_ring;
    return rc;
}

int kp_sampler_read(struct kp_sampler *sampler, struct kp_samples **out)
{
    struct kp_taken taken = {.side_used = 0};
    struct kp_aux_taken aux = {.spe = {.has_sums = 0}};
    int rc = kp_session_check_owner(sampler->session);
    if (rc != 0)
        return rc;
    kp_drain_finish_work(&sampler->drain);
    rc = kp_session_add_times(sampler->session, sampler->intake.taken.loss);
    if (rc == 0)
        rc = kp_taken_create(&sampler->intake, &taken);
    if (rc == 0) {
        pthread_mutex_lock(&sampler->drain.lock);
        kp_drain_all(&sampler->drain);
        kp_intake_settle(&sampler->intake);
        struct kp_taken now = sampler->intake.taken;
        sampler->intake.taken = taken;
        taken = now;
        if (sampler->aux != NULL)
            rc = kp_aux_take_all(sampler->aux, &aux);
        pthread_mutex_unlock(&sampler->drain.lock);
        if (rc == 0)
            rc = finish(sampler, &taken, &aux, out);
    }
    kp_taken_destroy(&taken);
    kp_aux_taken_destroy(&aux);
    return rc;
}
