/* SPDX-License-Identifier: Apache-2.0
 * The AUX areas of rings, in which the hardware writes what it samples, and their draining. */
#include "aux.h"

#include "error.h"
#include "perf_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define IOC_ENABLE 0x2400UL
#define IOC_DISABLE 0x2401UL

/* In the ring's control page (struct perf_event_mmap_page). */
enum { AUX_TAIL = 1064, AUX_OFFSET = 1072, AUX_SIZE = 1080 };

enum { LEAST_PAGES = 2 };

/* ---- creation ---- */

int kp_aux_create(const struct kp_spe_options *options, size_t n_cpus, uint32_t event,
                  struct kp_aux **out)
{
    struct kp_aux *aux = calloc(1, sizeof(*aux));
    if (aux == NULL)
        return kp_fail(KP_E_NOMEM, ENOMEM, "no memory for AUX areas");
    pthread_mutex_init(&aux->switching, NULL);
    aux->smallest = UINT64_MAX;
    aux->areas = calloc(n_cpus, sizeof(*aux->areas));
    aux->n_areas = aux->areas == NULL ? 0 : n_cpus;
    int rc = aux->areas == NULL ? kp_fail(KP_E_NOMEM, ENOMEM, "no memory for AUX areas") : 0;
    if (rc == 0)
        rc = kp_spool_create(&aux->spool, options->spool_fd);
    if (rc == 0)
        rc = kp_spe_intake_create(&aux->spe, options, n_cpus, event);
    if (rc != 0) {
        kp_aux_destroy(aux);
        return rc;
    }
    aux->spe.live = 1;
    *out = aux;
    return 0;
}

void kp_aux_destroy(struct kp_aux *aux)
{
    if (aux == NULL)
        return;
    for (size_t i = 0; i < aux->n_areas; i++)
        if (aux->areas[i].base != NULL)
            munmap(aux->areas[i].base, aux->areas[i].size);
    free(aux->areas);
    kp_spool_destroy(&aux->spool);
    kp_spe_intake_destroy(&aux->spe);
    pthread_mutex_destroy(&aux->switching);
    free(aux);
}

/* ---- opening ---- */

/* The timestamps of SPE become the perf clock and no other, so every record has that one. */
void kp_aux_prepare(const struct kp_event *event, struct kp_attr *attr)
{
    attr->flags &= ~KP_ATTR_USE_CLOCKID;
    attr->clockid = 0;
    attr->sample_type &= ~(uint64_t)KP_SAMPLE_RAW; /* raw bytes are ours alone */
    if (event->flags & KP_EVENT_TRACKING)
        attr->flags |= KP_ATTR_CONTEXT_SWITCH;
}

int kp_aux_map(struct kp_aux *aux, int32_t cpu, int fd, const struct kp_ring *ring)
{
    struct kp_aux_area *area = &aux->areas[cpu]; /* the ring's number was checked */
    uint64_t size = LEAST_PAGES * ring->page, at = ring->page + ring->size;
    void *base = MAP_FAILED;
    if (area->base != NULL)
        return 0;
    while (size < aux->spe.options.aux_bytes)
        size *= 2;
    *(uint64_t *)(ring->base + AUX_OFFSET) = at;
    /* The locked memory that perf may use is limited: a smaller area beats none. */
    for (; size >= LEAST_PAGES * ring->page; size /= 2) {
        *(uint64_t *)(ring->base + AUX_SIZE) = size;
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);
        if (base != MAP_FAILED || (errno != EPERM && errno != ENOMEM))
            break;
    }
    if (base == MAP_FAILED)
        return kp_fail_at(errno == EPERM || errno == ENOMEM ? KP_E_MMAP : KP_E_SYSTEM, errno,
                          (int32_t)aux->spe.event, cpu, -1, "cannot map an AUX area");
    *area = (struct kp_aux_area){.base = base, .control = ring->base, .size = size};
    if (size < aux->smallest)
        aux->smallest = size;
    kp_clocks_learn(&aux->clocks, ring->base);
    aux->spe.clock = aux->clocks.timer;
    if (aux->spe.options.flags & KP_SPE_OTHER_TIMER)
        aux->spe.clock.known = 0;
    return 0;
}

/* ---- draining ---- */

/* Switched off first: the kernel may be about to do that, and on is no news to it until then. */
static void enable_again(struct kp_aux *aux, int32_t cpu)
{
    pthread_mutex_lock(&aux->switching);
    const struct kp_session *session = aux->enabled ? aux->session : NULL;
    for (size_t i = 0; session != NULL && i < session->n_cells; i++) {
        const struct kp_cell *cell = &session->cells[i];
        if (cell->fd < 0 || cell->cpu != cpu || cell->event != aux->spe.event)
            continue;
        ioctl(cell->fd, IOC_DISABLE, 0);
        ioctl(cell->fd, IOC_ENABLE, 0);
    }
    pthread_mutex_unlock(&aux->switching);
}

struct parts {
    const uint8_t *first, *second;
    size_t n_first, n_second;
};

/* Bytes of the area, which may go over its edge. */
static struct parts parts_of(const struct kp_aux_area *area, uint64_t offset, uint64_t size)
{
    uint64_t at = offset & (area->size - 1);
    size_t first = at + size <= area->size ? size : area->size - at;
    return (struct parts){.first = area->base + at,
                          .second = area->base,
                          .n_first = first,
                          .n_second = (size_t)size - first};
}

/* PERF_RECORD_AUXTRACE, a record of perf.data files, and the bytes behind it. */
static void spool_bytes(struct kp_spool *spool, const struct parts *parts, uint64_t offset,
                        int32_t cpu)
{
    static const uint8_t padding[8];
    uint64_t n = parts->n_first + parts->n_second;
    struct {
        struct kp_record_header header;
        uint64_t size, offset, reference;
        uint32_t index, tid, cpu, reserved;
    } record = {.header = {.type = KP_FILE_AUXTRACE, .size = sizeof(record)},
                .size = (n + 7) / 8 * 8,
                .offset = offset,
                .index = (uint32_t)cpu,
                .tid = UINT32_MAX,
                .cpu = (uint32_t)cpu};
    kp_spool_write(spool, &record, sizeof(record));
    kp_spool_write(spool, parts->first, parts->n_first);
    kp_spool_write(spool, parts->second, parts->n_second);
    kp_spool_write(spool, padding, record.size - n);
}

/* Of perf.data files all records are of one event, for which an identifier of 0 stands. */
static void spool_record(struct kp_spool *spool, const uint8_t *record, size_t size)
{
    static const uint64_t id = 0;
    kp_spool_write(spool, record, size - sizeof(id)); /* a header is that long at least */
    kp_spool_write(spool, &id, sizeof(id));
}

static void take_bytes(struct kp_aux *aux, struct kp_taken *taken, struct kp_spe_chunk chunk,
                       uint64_t end)
{
    struct kp_aux_area *area = &aux->areas[chunk.cpu];
    struct kp_loss *loss = &taken->loss[aux->spe.event];
    struct parts parts = parts_of(area, chunk.offset, end - chunk.offset);
    if (aux->spool.fd >= 0)
        spool_bytes(&aux->spool, &parts, chunk.offset, chunk.cpu);
    kp_spe_intake_aux(&aux->spe, &chunk, parts.first, parts.n_first, &taken->store, loss);
    chunk.offset += parts.n_first;
    if (parts.n_second > 0)
        kp_spe_intake_aux(&aux->spe, &chunk, parts.second, parts.n_second, &taken->store, loss);
    area->tail = end;
    __atomic_store_n((uint64_t *)(area->control + AUX_TAIL), end, __ATOMIC_RELEASE);
}

static void take_aux(struct kp_aux *aux, struct kp_taken *taken, const uint8_t *record, size_t size)
{
    struct kp_record_aux fields;
    struct kp_record_end end;
    if (size < sizeof(fields) + sizeof(end)) {
        taken->malformed++;
        return;
    }
    memcpy(&fields, record, sizeof(fields));
    memcpy(&end, record + size - sizeof(end), sizeof(end));
    if (end.cpu < 0 || (size_t)end.cpu >= aux->n_areas || aux->areas[end.cpu].base == NULL) {
        taken->malformed++;
        return;
    }
    struct kp_aux_area *area = &aux->areas[end.cpu];
    /* From where the last record ended: one that went lost left its bytes in the area. */
    uint64_t until = fields.offset + fields.size;
    if (until - area->tail > area->size)
        taken->malformed++;
    else if (until != area->tail)
        take_bytes(aux, taken,
                   (struct kp_spe_chunk){.cpu = end.cpu,
                                         .pid = end.pid,
                                         .tid = end.tid,
                                         .time = end.time,
                                         .offset = area->tail},
                   until);
    kp_spe_intake_settle(&aux->spe, end.cpu);
    kp_spe_report_aux(&aux->spe.report, record, size);
    if (fields.flags & KP_AUX_TRUNCATED)
        enable_again(aux, end.cpu);
}

/* A record that went lost may have told that an area was full. */
static void take_lost(struct kp_aux *aux, const uint8_t *record, size_t size)
{
    struct kp_record_end end;
    if (size < sizeof(struct kp_record_header) + sizeof(end))
        return;
    memcpy(&end, record + size - sizeof(end), sizeof(end));
    enable_again(aux, end.cpu);
}

int kp_aux_take(struct kp_aux *aux, struct kp_taken *taken, const uint8_t *record, size_t size)
{
    struct kp_record_header header;
    memcpy(&header, record, sizeof(header));
    spool_record(&aux->spool, record, size);
    switch (header.type) {
    case KP_RECORD_AUX:
        take_aux(aux, taken, record, size);
        kp_clocks_look(&aux->clocks);
        return 1;
    case KP_RECORD_LOST:
        take_lost(aux, record, size);
        return 0;
    default:
        return kp_spe_intake_side(&aux->spe, record, size);
    }
}

/* ---- use ---- */

void kp_aux_attach(struct kp_aux *aux, struct kp_session *session, int enabled)
{
    pthread_mutex_lock(&aux->switching);
    aux->session = session;
    aux->enabled = enabled;
    pthread_mutex_unlock(&aux->switching);
}

int kp_aux_switch(struct kp_aux *aux, int on)
{
    pthread_mutex_lock(&aux->switching);
    int rc = on ? kp_session_enable(aux->session) : kp_session_disable(aux->session);
    if (rc == 0)
        aux->enabled = on;
    pthread_mutex_unlock(&aux->switching);
    return rc;
}

int kp_aux_take_all(struct kp_aux *aux, struct kp_aux_taken *out)
{
    kp_spool_flush(&aux->spool);
    kp_clocks_look(&aux->clocks);
    out->clocks = aux->clocks;
    int rc = kp_spe_take(&aux->spe, &out->spe);
    out->spe.report.aux_bytes = aux->smallest == UINT64_MAX ? 0 : aux->smallest;
    out->spe.report.spool_errno = (uint64_t)aux->spool.failed;
    return rc;
}

void kp_aux_taken_destroy(struct kp_aux_taken *taken)
{
    kp_store_destroy(&taken->spe.sums);
}

int kp_aux_tell(struct kp_aux_taken *taken, struct kp_spaces *spaces, struct kp_samples *samples)
{
    for (size_t i = 0; i < samples->len; i++)
        samples->time[i] = kp_clocks_to_monotonic(&taken->clocks, samples->time[i]);
    samples->spe_clock = taken->clocks.timer;
    return kp_spe_tell(&taken->spe, spaces, samples);
}
