/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole interface between the collection core and Python.
 *
 * cffi reads everything between the two markers as it stands, so it holds plain declarations only:
 * no macro, no #if. Every fallible function returns 0 or a negative KP_E_* code and sets the
 * calling thread's error (kp_last_error); out parameters come last.
 */
#ifndef KPERF_CORE_H
#define KPERF_CORE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* The codes are the negated values of kperf.Error. */
enum kp_code {
    KP_OK = 0,
    KP_E_NOMEM = -1,
    KP_E_ARGUMENT = -3,
    KP_E_SYSTEM = -4,
    KP_E_FORKED = -5,
    KP_E_EVENT = -1000,
    KP_E_NO_PROCESS = -1004,
    KP_E_PERMISSION = -1005,
    KP_E_BUSY = -1006,
    KP_E_KERNEL = -1007,
    KP_E_CPU = -1008,
    KP_E_FILES = -1015,
    KP_E_MMAP = -1016,
    KP_E_FILTER = -1025,
    KP_E_GROUP = -1026,
    KP_E_COMMAND_MISSING = -1027,
    KP_E_COMMAND_REFUSED = -1028,
    KP_E_TRACEFS = -1029
};

/* What the calling thread's last failed call ran into. event, cpu and tid are -1 where they do not
 * apply; needed and limit are 0 where no budget was exceeded. */
struct kp_error {
    int32_t code;
    int32_t sys_errno;
    int32_t event;
    int32_t cpu;
    int32_t tid;
    uint64_t needed;
    uint64_t limit;
    char message[160];
};

const struct kp_error *kp_last_error(void);
const char *kp_version(void);

enum kp_event_flag {
    KP_EVENT_EXCLUDE_USER = 1,
    KP_EVENT_EXCLUDE_KERNEL = 2,
    KP_EVENT_EXCLUDE_HV = 4,
    KP_EVENT_EXCLUDE_HOST = 8,
    KP_EVENT_EXCLUDE_GUEST = 16,
    KP_EVENT_HOST_BY_DEFAULT = 32, /* leave guests out where the PMU can tell them apart */
    KP_EVENT_PINNED = 64,
    KP_EVENT_KERNEL_ONLY =
        128,                  /* happens in the kernel only: without it nothing is left to count */
    KP_EVENT_FREQUENCY = 256, /* period is a frequency in Hz */
    KP_EVENT_TRACKING = 512   /* sampling: tells of processes and their mappings, nothing else */
};

/* One event, as perf_event_open wants it. */
struct kp_event {
    uint32_t type;
    uint32_t flags;
    uint64_t config;
    uint64_t config1; /* also a breakpoint's address */
    uint64_t config2; /* also a breakpoint's length */
    uint64_t config3;
    uint64_t period; /* sampling: events between two samples */
    uint32_t bp_type;
    uint32_t precise;
    uint32_t leader;     /* index of its group's first event; its own index when alone */
    uint32_t n_cpus;     /* 0: wherever the task runs */
    const int32_t *cpus; /* the CPUs it is opened on; the same for all members of a group */
    const char *filter;  /* of a tracepoint, in the kernel's words; NULL: every hit */
};

/* Whom to count. No pids, no tids and cgroup_fd -1: everything on the events' CPUs. */
struct kp_target {
    const int32_t *pids; /* every thread of these, present and (with KP_INHERIT) future */
    const int32_t *tids; /* these threads alone */
    uint32_t n_pids;
    uint32_t n_tids;
    int32_t cgroup_fd;
    int32_t reserved;
};

enum kp_session_flag {
    KP_INHERIT = 1,          /* children and new threads count for the task that made them */
    KP_ENABLE_ON_EXEC = 2,   /* the kernel starts counting at the target's exec */
    KP_KEEP_UNSUPPORTED = 4, /* an event the machine lacks becomes rows that say so, not an error */
    KP_USER_FALLBACK = 8     /* where the kernel may not be watched, count user space alone */
};

/* How one event was opened. */
struct kp_event_status {
    int32_t supported;
    int32_t sys_errno;  /* why not, where supported is 0 */
    int32_t user_only;  /* KP_USER_FALLBACK took effect */
    int32_t lone_reads; /* its group is read one event at a time: this kernel cannot do better */
};

/* What happened while threads were found and attached. */
struct kp_attach_report {
    uint32_t rounds;    /* listings of the threads until nothing new appeared */
    uint32_t watched;   /* 1 if FORK records were needed to tell who inherited */
    uint32_t uncertain; /* threads born in the instant of attaching, taken as inherited */
    uint32_t missed;    /* threads still unattached when attaching gave up */
    uint32_t lost;      /* FORK records the kernel had no room for */
    uint32_t descriptors;
};

enum kp_state { KP_COUNTED = 0, KP_NOT_COUNTED = 1, KP_NOT_SUPPORTED = 2 };

/* One row an event and CPU, an event and thread, or both. Times in ns. Columns of equal length. */
struct kp_counts {
    uint64_t *count;   /* scaled by enabled / running */
    uint64_t *value;   /* as the kernel counted it */
    uint64_t *enabled; /* time since the last read in which it was to be counted */
    uint64_t *running; /* time since the last read in which it was */
    uint32_t *event;
    int32_t *cpu;
    int32_t *pid;
    int32_t *tid;
    uint8_t *state;
    char *comm; /* 16 bytes a row, padded with NUL */
    size_t len;
};

struct kp_session;

/* Opens every counter, disabled. */
int kp_session_create(const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, uint32_t flags, struct kp_session **out);
void kp_session_destroy(struct kp_session *session);

/* For a forked child: closes its copies of the descriptors and touches nothing else. */
void kp_session_abandon(struct kp_session *session);
int kp_session_enable(struct kp_session *session);
int kp_session_disable(struct kp_session *session);
int kp_session_event_status(const struct kp_session *session, size_t event,
                            struct kp_event_status *out);
int kp_session_attach_report(const struct kp_session *session, struct kp_attach_report *out);

/* Counts since the last read; the caller destroys what it gets. */
int kp_session_read(struct kp_session *session, struct kp_counts **out);
void kp_counts_destroy(struct kp_counts *counts);

/* ---- counting with rows for those that are born meanwhile ---- */

/* Of the newborn since the opening, those that have no rows; their counts are in the row of the
 * thread that was there at first. */
struct kp_offspring_report {
    uint64_t gone;    /* ended before they could be counted by themselves */
    uint64_t beyond;  /* no descriptors left for them */
    uint64_t refused; /* the kernel had no counters for them */
    uint64_t lost;    /* records of births and ends that went lost */
};

struct kp_offspring;

/* As kp_session_create, with KP_INHERIT. The first event has KP_EVENT_TRACKING and names all CPUs;
 * it has no rows. */
int kp_offspring_create(const struct kp_event *events, size_t n_events,
                        const struct kp_target *target, uint32_t flags, struct kp_offspring **out);
void kp_offspring_destroy(struct kp_offspring *offspring);

/* For a forked child, as kp_session_abandon. No fork must come between the opening of a newborn's
 * counters and their listing: hold before it, go on behind it in the parent. */
void kp_offspring_abandon(struct kp_offspring *offspring);
void kp_offspring_hold(struct kp_offspring *offspring);
void kp_offspring_go_on(struct kp_offspring *offspring);
struct kp_session *kp_offspring_session(struct kp_offspring *offspring);
int kp_offspring_enable(struct kp_offspring *offspring);
int kp_offspring_disable(struct kp_offspring *offspring);

/* As kp_session_read: rows of those that were there, then of the newborn. */
int kp_offspring_read(struct kp_offspring *offspring, struct kp_counts **out);
int kp_offspring_report(struct kp_offspring *offspring, struct kp_offspring_report *out);

/* ---- sampling ---- */

enum kp_sampling_flag {
    KP_SAMPLING_CALLCHAIN = 1,
    KP_SAMPLING_ADDR = 2,
    KP_SAMPLING_RAW = 4 /* a tracepoint's fields */
};

enum kp_spe_flag {
    KP_SPE_ROWS = 1,       /* a sample a record, whose raw bytes are the record */
    KP_SPE_SUMS = 2,       /* records added up as they come */
    KP_SPE_LINES = 4,      /* with KP_SPE_SUMS: by cache line, too */
    KP_SPE_OTHER_TIMER = 8 /* timestamps are of a counter that does not become the perf clock */
};

struct kp_spe_options {
    uint64_t period;     /* operations between two records */
    uint64_t any_events; /* only records with at least one of these events; 0: all */
    uint64_t aux_bytes;  /* live: the AUX area of a CPU; halved where the system allows less */
    uint32_t flags;
    int32_t spool_fd; /* live: all records are written to it as they come; -1: none */
};

struct kp_sampling {
    uint32_t flags;
    uint32_t max_stack; /* 0: the system's limit */
    uint64_t branch_sample_type;
    uint64_t ring_bytes;              /* a CPU; halved where the system allows less */
    uint64_t store_bytes;             /* beyond it samples are dropped, and counted */
    const struct kp_spe_options *spe; /* the last event is SPE's; NULL: there is none */
};

/* What became of an event and its samples since the last read. Times in ns, over all tasks and
 * CPUs; of a task only while it is on a CPU that it is sampled on. */
struct kp_loss {
    uint64_t enabled; /* in which it was to be sampled */
    uint64_t running; /* in which it was */
    uint64_t samples;
    uint64_t lost;         /* no room in the ring */
    uint64_t lost_samples; /* dropped by the hardware or the kernel */
    uint64_t throttled;    /* times the kernel stopped the event for a while */
    uint64_t dropped;      /* no room in the store */
};

enum kp_mapping_number { KP_MAPPING_NONE = 0x7ffffffd, KP_MAPPING_KERNEL = 0x7ffffffe };

/* Set in frame_mapping where the address is the one that a call returns to: the call lies before
 * it, maybe at the end of another function or line. */
enum kp_frame_flag { KP_FRAME_CALLER = 0x80000000 };

struct kp_file_mapping {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    uint64_t inode; /* 0: not known */
    uint32_t device_major;
    uint32_t device_minor;
    int32_t pid; /* whose record told of it */
    uint32_t path;
    uint8_t build_id[20];
    uint8_t build_id_size; /* 0: not known */
};

/* What happened to processes and threads. Names and mappings that were there before the first
 * record are dated back to when their process began, or to 0. */
enum kp_task_kind {
    KP_TASK_MAP = 0,
    KP_TASK_COMM = 1,
    KP_TASK_EXEC = 2, /* its name is the new image's */
    KP_TASK_FORK = 3,
    KP_TASK_EXIT = 4
};

struct kp_task_event {
    uint64_t time;
    uint32_t kind;
    int32_t pid;
    int32_t tid;
    int32_t ppid; /* KP_TASK_FORK, KP_TASK_EXIT */
    int32_t ptid;
    uint32_t value; /* KP_TASK_MAP: a mapping; KP_TASK_COMM, KP_TASK_EXEC: a string */
};

/* From the generic timer to ns of the perf clock, as the ring's control page tells. */
struct kp_spe_clock {
    uint64_t zero;
    uint64_t cycles;
    uint64_t mask;
    uint32_t mult;
    uint16_t shift;
    uint8_t is_short; /* the counter wraps around: cycles and mask tell how */
    uint8_t known;    /* 0: times stay what the timer said */
};

/* What went wrong with SPE data since the last read. */
struct kp_spe_report {
    uint64_t bytes;
    uint64_t records;
    uint64_t corrupt;       /* bytes that begin no packet */
    uint64_t cut;           /* records that lack their end */
    uint64_t truncated;     /* times that the AUX area was full */
    uint64_t partial;       /* times that the hardware lost data */
    uint64_t collisions;    /* times that samples fell on one another */
    uint64_t filtered;      /* records without any of the events that were asked for */
    uint64_t lines_dropped; /* accesses to cache lines that were forgotten */
    uint64_t aux_bytes;     /* of the smallest AUX area */
    uint64_t spool_errno;   /* why writing to spool_fd ended early; 0: it did not */
};

/* Samples in order of time; columns of len items. Times in ns of CLOCK_MONOTONIC. */
/* Branches that samples of one event were preceded by, from one frame to another. */
struct kp_branch_row {
    uint64_t taken;
    uint64_t mispredicted; /* of those the hardware says so, */
    uint64_t predicted;    /* and of these the contrary */
    uint64_t cycles;       /* since the branch before, over all that tell them */
    uint64_t timed;        /* how many tell them */
    uint32_t event;
    uint32_t from;
    uint32_t to;
    uint32_t reserved;
};

struct kp_samples {
    uint64_t *time;
    uint64_t *ip;
    uint64_t *addr; /* NULL unless asked for */
    uint64_t *period;
    int32_t *pid;
    int32_t *tid;
    int32_t *cpu;
    uint32_t *event;
    uint32_t *comm;     /* a string */
    uint32_t *stack;    /* a node: its frame is the innermost, its parent the caller's; 0: none */
    uint64_t *extra_at; /* raw bytes or branches: where in extra; NULL unless asked for */
    uint32_t *extra_size;
    uint8_t *extra;
    size_t n_extra;
    size_t len;
    uint64_t *stack_frame; /* of each node */
    uint32_t *stack_parent;
    size_t n_stacks;
    uint64_t *frame_address;
    uint32_t *frame_mapping; /* mapping + 1, and kp_frame_flag; see kp_mapping_number */
    size_t n_frames;
    struct kp_file_mapping *mappings;
    size_t n_mappings;
    struct kp_task_event *task_events; /* in order of time */
    size_t n_task_events;
    char *strings;
    uint64_t *string_offset;
    size_t n_strings;
    struct kp_branch_row *branches; /* with branch records: what they add up to; else NULL */
    size_t n_branches;
    uint64_t branches_dropped; /* that found no room among these */
    struct kp_loss *loss;      /* one an event */
    size_t n_events;
    uint64_t side_lost; /* records of processes and mappings that went lost */
    uint64_t malformed;
    uint64_t ring_bytes; /* of the smallest ring */
    struct kp_spe_report spe;
    struct kp_spe_clock spe_clock;
    struct kp_samples *sums; /* of SPE records: raw bytes are kp_spe_cell or kp_spe_line; or NULL */
};

struct kp_sampler;

/* Opens the events for sampling, disabled, and starts the thread that empties their rings. Every
 * event names its CPUs; one with KP_EVENT_TRACKING should come first. */
int kp_sampler_create(const struct kp_event *events, size_t n_events,
                      const struct kp_target *target, const struct kp_sampling *sampling,
                      uint32_t flags, struct kp_sampler **out);
void kp_sampler_destroy(struct kp_sampler *sampler);

/* For a forked child, as kp_session_abandon: the thread and the rings are the parent's. */
void kp_sampler_abandon(struct kp_sampler *sampler);
struct kp_session *kp_sampler_session(struct kp_sampler *sampler);

/* Events for each thread on each CPU took more descriptors than there may be: all CPUs are sampled
 * instead, and the samples of the target are chosen from these. */
struct kp_choosing {
    uint64_t needed; /* 0: they did not */
    uint64_t limit;
};

int kp_sampler_choosing(struct kp_sampler *sampler, struct kp_choosing *out);
int kp_sampler_enable(struct kp_sampler *sampler);
int kp_sampler_disable(struct kp_sampler *sampler);

/* How many samples came since the last read, those that still lie in the rings included. */
int kp_sampler_count(struct kp_sampler *sampler, uint64_t *out);

/* The samples since the last read; the caller destroys what it gets. */
int kp_sampler_read(struct kp_sampler *sampler, struct kp_samples **out);
void kp_samples_destroy(struct kp_samples *samples);

/* ---- samples that were recorded before ---- */

/* One event of a recording, as its perf_event_attr has it. */
struct kp_recorded_event {
    uint64_t sample_type;
    uint64_t read_format;
    uint64_t branch_sample_type;
    uint64_t period;     /* 0: each sample tells its own */
    const uint64_t *ids; /* its records carry one of these; none where it is the only event */
    uint32_t n_ids;
    uint32_t sample_id_all; /* records beside samples tell when and of which event they are */
    uint32_t build_id;      /* mappings tell build-ids where their records say so */
    uint32_t reserved;
};

struct kp_recording;

/* sampling says what of a sample is kept: its flags, branch_sample_type and store_bytes. */
int kp_recording_create(const struct kp_recorded_event *events, size_t n_events,
                        const struct kp_sampling *sampling, struct kp_recording **out);
void kp_recording_destroy(struct kp_recording *recording);

/* Takes whole records from bytes, and tells how many bytes those were: what is left is the
 * beginning of a record, or of one that must be dealt with otherwise (its type is stopped_at; 0
 * where there is none). */
int kp_recording_feed(struct kp_recording *recording, const uint8_t *bytes, size_t size,
                      size_t *used, uint32_t *stopped_at);

/* All the samples that were taken; the caller destroys what it gets. */
int kp_recording_finish(struct kp_recording *recording, struct kp_samples **out);

/* Samples added up by the chosen keys; the other keys are 0 in a row. */
enum kp_hot_key {
    KP_HOT_EVENT = 1,
    KP_HOT_FRAME = 2, /* the innermost */
    KP_HOT_STACK = 4,
    KP_HOT_COMM = 8,
    KP_HOT_PID = 16,
    KP_HOT_TID = 32,
    KP_HOT_CPU = 64
};

struct kp_hot_row {
    uint64_t samples;
    uint64_t period;
    uint32_t event;
    uint32_t frame;
    uint32_t stack;
    uint32_t comm;
    int32_t pid;
    int32_t tid;
    int32_t cpu;
    uint32_t reserved;
};

int kp_samples_hot(const struct kp_samples *samples, uint32_t keys, struct kp_hot_row **out,
                   size_t *n_out);
void kp_hot_destroy(struct kp_hot_row *rows);

/* How many samples have each whole stack, how many pass through each node (both n_stacks long), and
 * how many have each frame anywhere in their stack (n_frames long). */
void kp_samples_occurrences(const struct kp_samples *samples, uint64_t *stacks, uint64_t *below,
                            uint64_t *frames);

/* 0 if the kernel would open this event for the calling thread (or on its CPUs). */
int kp_event_probe(const struct kp_event *event);

/* ---- symbols by address ---- */

enum kp_no_symbol { KP_NO_SYMBOL = 0xffffffff };

/* A section of an ELF file, at its number in the array. */
struct kp_section {
    uint64_t start;
    uint64_t end;
    uint32_t executable;
    uint32_t reserved;
};

/* Symbols in order of their start, and the ranges of addresses that they name: a range reaches to
 * the next one, and one of KP_NO_SYMBOL names nothing. */
struct kp_symindex {
    uint64_t *start;
    uint64_t *end;
    uint32_t *name; /* in names, NUL-terminated; kallsyms: with "\t[module]" behind it */
    size_t len;
    char *names;
    size_t names_size;
    uint64_t *range_start;
    uint32_t *range_symbol;
    size_t n_ranges;
};

/* Gathers symbols of any number of tables, or the lines of one text. Nothing in them is trusted;
 * what makes no sense is left out. */
struct kp_symbuild;
int kp_symbuild_create(struct kp_symbuild **out);
void kp_symbuild_destroy(struct kp_symbuild *build);

/* A little-endian symbol table and its names; shift is added to every address. */
int kp_symbuild_add_elf(struct kp_symbuild *build, int32_t is_64, const uint8_t *symbols,
                        size_t symbols_size, const char *names, size_t names_size,
                        const struct kp_section *sections, size_t n_sections, uint64_t shift);
int kp_symbuild_add_kallsyms(struct kp_symbuild *build, const char *text, size_t size);
int kp_symbuild_add_perf_map(struct kp_symbuild *build, const char *text, size_t size);

/* Empties the build into an index. */
int kp_symbuild_finish(struct kp_symbuild *build, struct kp_symindex **out);
void kp_symindex_destroy(struct kp_symindex *index);

/* The symbol of each address, or KP_NO_SYMBOL. */
void kp_symindex_lookup(const struct kp_symindex *index, const uint64_t *addresses, size_t n,
                        uint32_t *out);

/* ---- system calls ---- */

/* Calls whose time fell into one bucket of the histogram. */
struct kp_call_bucket {
    uint64_t count;
    uint32_t bucket; /* see kp_bucket_range */
    uint32_t reserved;
};

/* The calls of one system call, by a process or a thread where that was asked for. Times in ns. */
struct kp_call_row {
    uint64_t count;        /* that began and returned */
    uint64_t errors;       /* of them: returned -4095 to -1 */
    uint64_t unfinished;   /* began and had not returned by the end of the window */
    uint64_t begun_before; /* returned, and had begun before the window */
    uint64_t total_ns;
    uint64_t max_ns;
    uint64_t first_bucket; /* its buckets, in rising order, none of them empty */
    uint32_t n_buckets;
    uint32_t number;
    uint32_t bits; /* 64, or 32 for a compat task, whose numbers are others */
    int32_t pid;   /* -1: all */
    int32_t tid;   /* -1: all */
    char comm[16]; /* of that thread or process, padded with NUL */
};

/* What is missing from a window. */
struct kp_call_loss {
    uint64_t lost;    /* records that had no room */
    uint64_t dropped; /* beginnings of calls that were given up, as their ends may be others' */
};

struct kp_call_summary {
    struct kp_call_row *rows;
    size_t n_rows;
    struct kp_call_bucket *buckets;
    size_t n_buckets;
    struct kp_call_loss loss;
};

void kp_call_summary_destroy(struct kp_call_summary *summary);

/* The times of a bucket: [from, to). They differ by at most 1/64. */
void kp_bucket_range(uint32_t bucket, uint64_t *from, uint64_t *to);

/* The time that `share` (0 to 1) of a row's calls do not exceed, within 1 percent; 0 without calls.
 */
uint64_t kp_call_percentile(const struct kp_call_summary *summary, const struct kp_call_row *row,
                            double share);

/* ---- system calls through the rings ---- */

enum kp_call_key { KP_CALLS_TOGETHER = 0, KP_CALLS_BY_PROCESS = 1, KP_CALLS_BY_THREAD = 2 };

/* Which calls, and what becomes of them. No numbers at all: every call. */
struct kp_call_options {
    const uint32_t *numbers; /* of 64-bit tasks */
    const uint32_t *numbers_32;
    uint32_t n_numbers;
    uint32_t n_numbers_32;
    uint32_t restart; /* the number of restart_syscall; _32: of compat tasks */
    uint32_t restart_32;
    uint32_t sigreturn; /* of rt_sigreturn, which returns without its number */
    uint32_t sigreturn_32;
    uint32_t rt_sigreturn_32;
    uint32_t key;      /* kp_call_key: of the summary */
    int32_t with_list; /* keep every call as well */
    int32_t reserved;
    uint64_t list_bytes; /* beyond it calls are lost, and counted */
};

struct kp_call_number {
    uint32_t number;
    uint32_t bits;
};

/* Calls in the order of their return; columns of len items. Times in ns of CLOCK_MONOTONIC. */
struct kp_calls {
    uint64_t *start;
    uint64_t *elapsed;
    int64_t *ret;
    int32_t *pid;
    int32_t *tid;
    uint32_t *comm;  /* a string */
    uint16_t *which; /* a number */
    uint16_t *cpu;   /* where it returned */
    size_t len;
    struct kp_call_number *numbers;
    size_t n_numbers;
    char *strings;
    uint64_t *string_offset;
    size_t n_strings;
};

void kp_calls_destroy(struct kp_calls *calls);

/* The kernel's events behind the calls: their numbers are the indexes of the events given. */
struct kp_tracing {
    struct kp_call_options calls;
    uint64_t ring_bytes; /* a CPU; halved where the system allows less */
    uint32_t enter_type; /* common_type of raw_syscalls:sys_enter, sys_exit, sched_process_exec */
    uint32_t exit_type;
    uint32_t exec_type;
    uint32_t reserved;
};

struct kp_tracer;

/* Opens, disabled: a tracking event, sys_enter, sys_exit and sched_process_exec, in this order. */
int kp_tracer_create(const struct kp_event *events, size_t n_events, const struct kp_target *target,
                     const struct kp_tracing *tracing, uint32_t flags, struct kp_tracer **out);
void kp_tracer_destroy(struct kp_tracer *tracer);
void kp_tracer_abandon(struct kp_tracer *tracer);
struct kp_session *kp_tracer_session(struct kp_tracer *tracer);
int kp_tracer_enable(struct kp_tracer *tracer);
int kp_tracer_disable(struct kp_tracer *tracer);
uint64_t kp_tracer_ring_bytes(const struct kp_tracer *tracer);

/* The calls since the last read of their kind; the caller destroys what it gets. */
int kp_tracer_read_summary(struct kp_tracer *tracer, struct kp_call_summary **out);
int kp_tracer_read_calls(struct kp_tracer *tracer, struct kp_calls **out);

/* ---- system calls through BPF programs ---- */

struct kp_bpf_calls;

/* Everything that is there to follow the calls is opened, but not attached to them. KP_INHERIT:
 * the children of pids as well; KP_ENABLE_ON_EXEC: the pids are held commands, followed from their
 * exec on. No cpus: everywhere. */
int kp_bpf_calls_create(const struct kp_call_options *options, const struct kp_target *target,
                        const int32_t *cpus, size_t n_cpus, uint32_t flags,
                        struct kp_bpf_calls **out);
void kp_bpf_calls_destroy(struct kp_bpf_calls *calls);
void kp_bpf_calls_abandon(struct kp_bpf_calls *calls);
int kp_bpf_calls_enable(struct kp_bpf_calls *calls);
int kp_bpf_calls_disable(struct kp_bpf_calls *calls);

/* The calls since the last read; the caller destroys what it gets. */
int kp_bpf_calls_read(struct kp_bpf_calls *calls, struct kp_call_summary **out);

/* ---- Arm SPE ---- */

/* Packets of the Statistical Profiling Extension. Alignments are padding, too. */
enum kp_spe_kind {
    KP_SPE_BAD = 0, /* a byte that begins no packet */
    KP_SPE_PAD = 1,
    KP_SPE_END = 2,
    KP_SPE_TIMESTAMP = 3,
    KP_SPE_EVENTS = 4,
    KP_SPE_SOURCE = 5,
    KP_SPE_CONTEXT = 6,
    KP_SPE_OPERATION = 7,
    KP_SPE_ADDRESS = 8,
    KP_SPE_COUNTER = 9
};

struct kp_spe_packet {
    uint64_t at; /* offset in the AUX area */
    uint64_t payload;
    uint32_t size;
    uint8_t kind;
    uint8_t index;
    uint16_t reserved;
};

/* Which fields a record has. */
enum kp_spe_field {
    KP_SPE_HAS_PC = 1,
    KP_SPE_HAS_TARGET = 2,
    KP_SPE_HAS_PREVIOUS = 4,
    KP_SPE_HAS_VA = 8,
    KP_SPE_HAS_PA = 16,
    KP_SPE_HAS_EVENTS = 32,
    KP_SPE_HAS_TIME = 64,
    KP_SPE_HAS_CONTEXT = 128,
    KP_SPE_HAS_SOURCE = 256,
    KP_SPE_HAS_OP = 512,
    KP_SPE_HAS_TOTAL = 1024,
    KP_SPE_HAS_ISSUE = 2048,
    KP_SPE_HAS_TRANSLATION = 4096
};

/* One sampled operation; a field that it does not have is 0. */
struct kp_spe_record {
    uint64_t time;     /* of the generic timer */
    uint64_t pc;       /* sign-extended, as are all virtual addresses */
    uint64_t target;   /* of a branch */
    uint64_t previous; /* target of the branch taken before */
    uint64_t va;       /* without its tag */
    uint64_t pa;
    uint64_t events;
    uint32_t context; /* as a rule the thread */
    uint32_t source;
    uint16_t total; /* latencies in cycles */
    uint16_t issue;
    uint16_t translation;
    uint16_t op;      /* class << 8 | payload */
    uint16_t has;     /* kp_spe_field */
    uint8_t pc_level; /* exception level, and 4 if not secure */
    uint8_t target_level;
    uint8_t va_tag;
    uint8_t pa_attributes;
    uint16_t reserved;
};

struct kp_spe_stats {
    uint64_t bytes;
    uint64_t records;
    uint64_t corrupt; /* bytes that begin no packet */
    uint64_t cut;     /* records that lack their end */
};

/* The packets of some bytes, at most `most`; returns how many bytes they take. */
size_t kp_spe_packets(const uint8_t *bytes, size_t size, uint64_t offset,
                      struct kp_spe_packet *packets, size_t most, size_t *n_out);

/* Records that have all of this in common. */
struct kp_spe_cell {
    uint64_t events;
    uint64_t samples;
    uint64_t total; /* sums of latencies in cycles */
    uint64_t issue;
    uint64_t translation;
    uint32_t source;
    uint32_t bucket; /* of the total latency: see kp_bucket_range */
    uint16_t op;
    uint16_t has; /* kp_spe_field: events, source, op and the latencies */
    uint32_t reserved;
};

/* Accesses of one thread by one instruction to one byte of a cache line. */
struct kp_spe_line {
    uint64_t address; /* of the line: a multiple of 64 */
    uint64_t samples;
    uint64_t total;
    int32_t owner; /* the process whose address it is; 0: the same for all */
    uint8_t offset;
    uint8_t writes;
    uint8_t physical;
    uint8_t reserved;
};

/* Streams that were recorded before. Side-band records come before the bytes they explain. */
struct kp_spe_decoding;
int kp_spe_decoding_create(const struct kp_spe_options *options, uint64_t store_bytes,
                           size_t n_cpus, struct kp_spe_decoding **out);
void kp_spe_decoding_destroy(struct kp_spe_decoding *decoding);
void kp_spe_decoding_clock(struct kp_spe_decoding *decoding, const struct kp_spe_clock *clock);

/* A record as rings have them, with TID, TIME, CPU, IDENTIFIER at its end. */
int kp_spe_decoding_record(struct kp_spe_decoding *decoding, const uint8_t *record, size_t size);

/* The next bytes of a CPU's stream; they stand at `offset` of its AUX area. */
void kp_spe_decoding_aux(struct kp_spe_decoding *decoding, int32_t cpu, uint64_t offset,
                         const uint8_t *bytes, size_t size);

/* All that was decoded; the caller destroys what it gets. To be called once. */
int kp_spe_decoding_finish(struct kp_spe_decoding *decoding, struct kp_samples **out);

/* ---- source lines by address ---- */

enum kp_no_program { KP_NO_PROGRAM = 0x7fffffff };

/* Where an address came from: a line program of .debug_line, by its offset, and the number of a
 * file in that program's table. */
struct kp_line {
    uint64_t program; /* KP_NO_PROGRAM: nothing is known */
    uint64_t file;
    uint32_t line; /* 0: of no line in particular */
    uint32_t reserved;
};

/* The lines of n ascending addresses, by the programs of a .debug_line section. Nothing in it is
 * trusted; what makes no sense is left out. */
void kp_lines_find(const uint8_t *section, size_t size, const uint64_t *addresses, size_t n,
                   struct kp_line *out);

/* A launched command, held between fork and exec. path is executed as it stands; script_argv is
 * what /bin/sh gets where the file has no interpreter line. files_soft and files_hard are the
 * descriptor limits it runs under. */
struct kp_child;
int kp_child_create(const char *path, char *const *argv, char *const *script_argv,
                    char *const *envp, uint64_t files_soft, uint64_t files_hard,
                    struct kp_child **out);
int32_t kp_child_pid(const struct kp_child *child);
int kp_child_release(struct kp_child *child);
void kp_child_destroy(struct kp_child *child);

/* A tracefs of our own that no path shows, as a directory descriptor: for where none is mounted. */
int kp_tracefs_open(int32_t *out);

/* cffi: end */

#endif
