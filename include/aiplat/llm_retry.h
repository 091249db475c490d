/*
 * Retry: a model provider that asks another one again when a call fails for a passing reason. It
 * knows nothing of any protocol; whether an error passes is the error's word
 * (aip_error_is_retryable).
 */
#ifndef AIPLAT_LLM_RETRY_H
#define AIPLAT_LLM_RETRY_H

#if defined(AIP_LAYER) && AIP_LAYER < 3
#error "application: not for this layer"
#endif

#include <aiplat/ports/llm.h>
#include <aiplat/ports/loop.h>
#include <aiplat/ports/random.h>

AIP_BEGIN_DECLS

struct aip_llm_retry_options {
        size_t self_size;
        int32_t max_tries;       /* requests in all, 1–100 */
        int64_t initial_wait_ms; /* 0–3,600,000 */
        int64_t max_wait_ms;     /* initial_wait_ms–3,600,000 */
        double factor;           /* 1–100 */
};

#define AIP_LLM_RETRY_OPTIONS_INIT                                                                 \
        {                                                                                          \
                sizeof(struct aip_llm_retry_options), 3, 500, 60000, 2.0                           \
        }

/*
 * The wait before try n + 1 is drawn evenly from 0 to initial_wait_ms · factor^(n - 1), at most
 * max_wait_ms ("full jitter"). When the provider said how long to wait, that time is waited first
 * and the drawn one on top, so that many callers do not come back at one moment.
 *
 * The last error is given to the caller at once when it does not pass, when max_tries are used up,
 * when the wait would end after op.deadline_ms, and when the provider asks for more than
 * max_wait_ms: so long a pause is better spent by the job's own retry, which holds no place in a
 * worker.
 *
 * A streamed call that fails after deltas is tried again like any other; then, before the next try,
 * on_delta is told RESTART: what came before is void.
 *
 * The port's name is the inner's. `inner` is consumed on success. options NULL: the defaults.
 */
AIP_API int aip_retrying_llm_new(struct aip_llm inner, struct aip_loop loop,
                                 struct aip_random random,
                                 const struct aip_llm_retry_options *options,
                                 struct aip_llm *ret_llm, aip_error **err);

AIP_END_DECLS

#endif
