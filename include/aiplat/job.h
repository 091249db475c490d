/*
 * Job: the aggregate of the jobs context. A prompt that was accepted and ends exactly once.
 *
 *                    ┌──────────── retry, hand back, worker lost ───────────┐
 *                    ▼                                                      │
 *     (new) ──► QUEUED ──────────────── start ──────────────────► PROCESSING
 *                ▲ │                                             │ │   │   │
 *                │ └── cancel ──► CANCELLED ◄────── cancel ──────┼─┘   │   │
 *                │                ▲ FAILED  ◄────── fail ────────┼─────┘   │
 *              resume             │ COMPLETED ◄──── complete ────┼─────────┘
 *                │              cancel                           │
 *                └─────────── INTERRUPTED ◄──── interrupt ───────┘
 *
 * An interrupted job has asked questions; nobody works on it until it is resumed with answers.
 *
 * Every transition raises `version` by one. The version is the fence: a store records a transition
 * only when the job still has the version that the transition started from, so a stale worker can
 * write nothing. Each transition yields one `aip_transition`, from which the messages and domain
 * events of the outbox are made.
 *
 * A job is plain data without locks: it belongs to whoever holds it.
 */
#ifndef AIPLAT_JOB_H
#define AIPLAT_JOB_H

#if defined(AIP_LAYER) && AIP_LAYER < 2
#error "domain: not for this layer"
#endif

#include <aiplat/id.h>
#include <aiplat/value.h>

AIP_BEGIN_DECLS

typedef struct aip_job aip_job;

#define AIP_PROMPT_MAX_CHARACTERS   100000
#define AIP_NAME_MAX_BYTES          255
#define AIP_JOB_DOCUMENT_MAX_BYTES  65536 /* variables and metadata, each, as JSON */
#define AIP_JOB_INPUT_MAX_BYTES     (1u << 20)
#define AIP_JOB_MAX_ATTEMPTS        100
#define AIP_JOB_RESULT_MAX_BYTES    (16u << 20)
#define AIP_JOB_QUESTIONS_MAX_BYTES (1u << 20) /* and answers, each, as JSON */
#define AIP_TRACE_ID_BYTES          33 /* 32 hexadecimal digits and NUL */

enum aip_job_status {
        AIP_JOB_QUEUED = 0,
        AIP_JOB_PROCESSING,
        AIP_JOB_COMPLETED,
        AIP_JOB_FAILED,
        AIP_JOB_CANCELLED,
        AIP_JOB_INTERRUPTED /* waits for answers */
};
#define AIP_JOB_STATUSES (AIP_JOB_INTERRUPTED + 1)

/* "QUEUED" …; static. */
AIP_API const char *aip_job_status_name(enum aip_job_status status);
/* Either case. AIP_EINVAL for anything else. */
AIP_API int aip_job_status_parse(struct aip_str text, enum aip_job_status *ret_status,
                                 aip_error **err);
/* COMPLETED, FAILED or CANCELLED: nothing changes any more. */
AIP_API int aip_job_status_is_terminal(enum aip_job_status status);
/* One of these, or INTERRUPTED: nothing changes by itself, so there is nothing to wait for. */
AIP_API int aip_job_status_is_at_rest(enum aip_job_status status);
/* The table of allowed transitions. */
AIP_API int aip_job_status_may_become(enum aip_job_status from, enum aip_job_status to);

/* Prompt: valid UTF-8, no NUL, 1 to 100,000 characters, not only white space. AIP_EINVAL with a
 * message fit for the person who wrote it. */
AIP_API int aip_prompt_check(struct aip_str prompt, aip_error **err);
/* Names of configurations, templates, graphs: 1–255 bytes of valid UTF-8 without control characters
 * or surrounding white space. `what` ("config_name") begins the message. */
AIP_API int aip_name_check(const char *what, struct aip_str name, aip_error **err);

/* What a caller asks for. Strings are borrowed during the call. */
struct aip_job_spec {
        size_t self_size;
        struct aip_str prompt;
        struct aip_str config_name;    /* empty: default-smart */
        struct aip_str template_name;  /* empty: default-assistant */
        struct aip_str graph_name;     /* empty: assistant */
        struct aip_str variables_json; /* a JSON object (checked by the caller), or empty */
        struct aip_str metadata_json;  /* a JSON object (checked by the caller), or empty */
        struct aip_str trace_id;       /* 32 hexadecimal digits, not all 0, or empty; kept in lower
                                        * case */
        int32_t max_attempts;          /* 1–100; default 3 */
        int32_t retry_delay_ms;        /* before the first retry; doubles each time, at most 300 s;
                                        * 0–300,000; default 5,000 */
        int64_t run_at_us;             /* not before; 0 or past: at once; at most year 9999 */
        int32_t is_streamed;           /* what happens in its run is told while it happens */
        /* For the graph: a JSON object (checked by the caller), or empty. With it the prompt may be
         * empty. With neither, a job of a thread goes on where the thread stands. */
        struct aip_str input_json;
        /* Jobs of one thread run one after the other, each from the state in which the last has left
         * it. Nil: none. Not with run_at. */
        struct aip_id thread_id;
        int64_t checkpoint; /* of the thread: begin at this state; 0: at the last */
};

/* checkpoint of a job that begins as the first of its thread would: without any state. */
#define AIP_JOB_NO_STATE (-1)

#define AIP_JOB_SPEC_INIT                                                                          \
        {                                                                                          \
                sizeof(struct aip_job_spec), {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0},       \
                        {0, 0}, 3, 5000, 0, 0, {0, 0}, {{0}}, 0                                    \
        }

/* Everything a job knows, for readers and for stores that restore one. */
struct aip_job_fields {
        size_t self_size;
        struct aip_id id;
        enum aip_job_status status;
        int32_t attempt; /* attempts started; 0 before the first */
        int32_t max_attempts;
        int32_t retry_delay_ms;
        int64_t version; /* 1 when created */
        struct aip_str prompt;
        struct aip_str config_name, template_name, graph_name;
        struct aip_str variables_json, metadata_json; /* {NULL,0}: none */
        struct aip_str trace_id;                      /* {NULL,0}: none */
        struct aip_str result;                        /* {NULL,0} until COMPLETED */
        struct aip_str error_code, error_message;     /* of the last failed attempt, also when a later
                                                       * one completed the job; {NULL,0}: none */
        struct aip_str provider, model_name;          /* that answered; {NULL,0}: none */
        int64_t input_tokens, output_tokens;
        int64_t created_at_us, updated_at_us, run_at_us;
        int64_t started_at_us;  /* of the last attempt; 0: never */
        int64_t finished_at_us; /* 0 until terminal */
        int32_t is_streamed;    /* 0 or 1 */
        struct aip_str input_json; /* {NULL,0}: none */
        /* INTERRUPTED: a JSON list of {"id", "node", "value"}; otherwise {NULL,0}. */
        struct aip_str questions_json;
        /* From the resumption to the end of the run: a JSON object, an answer under the id of each question;
         * otherwise {NULL,0}. */
        struct aip_str answers_json;
        struct aip_id thread_id; /* nil: none */
        int64_t checkpoint;      /* of the thread, where it begins; 0: the last; AIP_JOB_NO_STATE */
};

/* run_at_us of a job that waits for its turn in its thread. */
#define AIP_JOB_WAITS_US INT64_C(253402300799999999) /* the end of the year 9999 */

/* A new job in QUEUED, version 1. Checks the spec; AIP_EINVAL names the field. `now_us` > 0. Owned by
 * caller. */
AIP_API int aip_job_new(struct aip_id id, const struct aip_job_spec *spec, int64_t now_us,
                        aip_job **ret_job, aip_error **err);
/* A job as a store remembers it; strings are copied, empty optional ones become {NULL,0}. AIP_EINVAL
 * when it could never have been: for example ended without finished_at_us, PROCESSING without an
 * attempt, more attempts than transitions, a result but not COMPLETED. More attempts than
 * max_attempts are let through: an operator may have queued a failed job again. */
AIP_API int aip_job_restore(const struct aip_job_fields *fields, aip_job **ret_job,
                            aip_error **err);
AIP_API int aip_job_copy(const aip_job *job, aip_job **ret_job, aip_error **err);
AIP_API void aip_job_free(aip_job *job);
/* Borrowed; valid until the job changes. */
AIP_API const struct aip_job_fields *aip_job_fields(const aip_job *job);

/* A new job is to wait until others of its thread have ended; and its turn has come. Neither is a
 * transition; AIP_ESTATE when the job is not QUEUED, or does not wait. */
AIP_API int aip_job_hold(aip_job *job, aip_error **err);
AIP_API int aip_job_take_turn(aip_job *job, int64_t now_us, aip_error **err);
/* It brings neither prompt nor input: the run goes on where its thread stands, instead of beginning again. */
AIP_API int aip_job_fields_go_on(const struct aip_job_fields *fields);
/* A new job that has not been told where to begin in its thread is: at a checkpoint, or AIP_JOB_NO_STATE. Not a
 * transition; AIP_ESTATE when it is not new. */
AIP_API int aip_job_begin_at(aip_job *job, int64_t checkpoint, aip_error **err);
/* It is QUEUED and waits for its turn. */
AIP_API int aip_job_waits(const aip_job *job);

/* What happened to a job; kept in the outbox until it is published. Plain data. */
enum aip_transition_kind {
        AIP_TRANSITION_CREATED = 0,
        AIP_TRANSITION_DUE,      /* a delayed job's time came: a task, no event */
        AIP_TRANSITION_STARTED,
        AIP_TRANSITION_RETRY,    /* an attempt failed; QUEUED again, later */
        AIP_TRANSITION_RELEASED, /* handed back by a draining worker, or its worker was lost */
        AIP_TRANSITION_COMPLETED,
        AIP_TRANSITION_FAILED,
        AIP_TRANSITION_CANCELLED,
        AIP_TRANSITION_INTERRUPTED,
        AIP_TRANSITION_RESUMED
};
#define AIP_TRANSITION_KINDS (AIP_TRANSITION_RESUMED + 1)

struct aip_transition {
        int64_t outbox_id; /* of its outbox row; 0: not stored, or nothing is to be published */
        struct aip_id job_id;
        int64_t version; /* of the job after the transition: orders its events */
        int64_t at_us;
        enum aip_transition_kind kind;
        enum aip_job_status from, to;
        int32_t attempt;
        int32_t is_runnable; /* a worker may take the job now: publish a task message */
        char error_code[48]; /* "" unless RETRY or FAILED */
        int32_t outbox_n;    /* transitions in its outbox row; 0 or 1: this one alone */
};

/* "created" …; static. */
AIP_API const char *aip_transition_kind_name(enum aip_transition_kind kind);
AIP_API int aip_transition_kind_parse(struct aip_str text, enum aip_transition_kind *ret_kind,
                                      aip_error **err);

/* The transition that aip_job_new() was. */
AIP_API struct aip_transition aip_job_created(const aip_job *job);

/*
 * Transitions. Each checks that it is allowed now (AIP_ESTATE otherwise, and nothing changes), moves
 * the job and describes the move. `now_us` is the wall clock; where it is behind the job's
 * updated_at_us, that is used, so that times of a job never run backwards.
 */
/* AIP_ESTATE also before run_at_us. */
AIP_API int aip_job_start(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                          aip_error **err);

struct aip_job_outcome {
        size_t self_size;
        struct aip_str result; /* valid UTF-8 without NUL, at most 16 MiB */
        struct aip_str provider, model_name;
        int64_t input_tokens, output_tokens;
};
AIP_API int aip_job_complete(aip_job *job, const struct aip_job_outcome *outcome, int64_t now_us,
                             struct aip_transition *ret_transition, aip_error **err);

/* An attempt failed. QUEUED again with a later run_at when attempts are left and the failure is
 * retryable (exponential: retry_delay · 2^(attempt-1), at most 300 s, and no sooner than the
 * provider asked), else FAILED. */
AIP_API int aip_job_fail(aip_job *job, const aip_error *failure, int64_t now_us,
                         struct aip_transition *ret_transition, aip_error **err);
/* Hand back without having counted the attempt: QUEUED, due at once. */
AIP_API int aip_job_release(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                            aip_error **err);
/* Its worker's lease expired: QUEUED and due at once when attempts are left (RELEASED), else FAILED.
 * In both cases the job's error_code becomes internal_worker_lost. */
AIP_API int aip_job_lose_worker(aip_job *job, int64_t now_us,
                                struct aip_transition *ret_transition, aip_error **err);
AIP_API int aip_job_cancel(aip_job *job, int64_t now_us, struct aip_transition *ret_transition,
                           aip_error **err);
/* Its run asks `questions_json` (a JSON list of {"id", "node", "value"}, made by the graph runner; at most
 * AIP_JOB_QUESTIONS_MAX_BYTES: AIP_ELIMIT) and has ended until they are answered. */
AIP_API int aip_job_interrupt(aip_job *job, struct aip_str questions_json, int64_t now_us,
                              struct aip_transition *ret_transition, aip_error **err);
/* Answers have come (a JSON object, checked by the caller): QUEUED, due at once. The attempt that asked
 * goes on, so it is not counted again. */
AIP_API int aip_job_resume(aip_job *job, struct aip_str answers_json, int64_t now_us,
                           struct aip_transition *ret_transition, aip_error **err);

/*
 * Domain events: what the outside hears of a transition. One transition yields none (DUE), one, or
 * two (status_changed and the final one, or that it was interrupted).
 */
enum aip_job_event_type {
        AIP_EVENT_JOB_CREATED = 0,
        AIP_EVENT_JOB_STATUS_CHANGED,
        AIP_EVENT_JOB_COMPLETED,
        AIP_EVENT_JOB_FAILED,
        AIP_EVENT_JOB_INTERRUPTED
};
#define AIP_JOB_EVENT_TYPES (AIP_EVENT_JOB_INTERRUPTED + 1)

#define AIP_JOB_EVENTS_PER_TRANSITION 2

/* Fills ret_types, returns how many (0–2), in the order in which they are to be published. */
AIP_API size_t aip_transition_events(const struct aip_transition *transition,
                                     enum aip_job_event_type
                                             ret_types[AIP_JOB_EVENTS_PER_TRANSITION]);
/* Which events are to be published: "all", "none", or names with commas between. In *ret_muted the
 * bits 1u << type of the others. AIP_EINVAL names what is no event. */
AIP_API int aip_job_events_parse(struct aip_str text, uint32_t *ret_muted, aip_error **err);
/* "job.created" …: also the routing key. Static. */
AIP_API const char *aip_job_event_name(enum aip_job_event_type type);
/* The event as JSON: event_id (the version 5 UUID of "<version>:<type>" in the job's id, so the same
 * for every repetition), type, job_id, sequence (the version), occurred_at (RFC 3339, UTC), attempt,
 * status; previous_status (not of job.created) and error_code where there is one. Appends to `out`;
 * AIP_ENOMEM or AIP_ELIMIT (its maximum). */
AIP_API int aip_job_event_print(const struct aip_transition *transition,
                                enum aip_job_event_type type, struct aip_buf *out,
                                aip_error **err);

AIP_END_DECLS

#endif
