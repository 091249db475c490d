/* The loops that aiplat brings: libuv's for programs, a virtual one for tests and simulations. */
#ifndef AIPLAT_LOOPS_H
#define AIPLAT_LOOPS_H

#if defined(AIP_LAYER) && (AIP_LAYER < 4 || AIP_LAYER == 5)
#error "infrastructure: not for this layer"
#endif

#include <aiplat/ports/loop.h>
#include <aiplat/ports/random.h>

AIP_BEGIN_DECLS

typedef struct aip_uv_loop aip_uv_loop;

/* A loop of its own on libuv. It belongs to the thread that runs it. */
AIP_API int aip_uv_loop_new(aip_uv_loop **ret_loop, aip_error **err);
AIP_API struct aip_loop aip_uv_loop_port(aip_uv_loop *loop);
/* Run until aip_uv_loop_stop(). */
AIP_API void aip_uv_loop_run(aip_uv_loop *loop);
/* Any thread, any signal-safe context excluded. */
AIP_API void aip_uv_loop_stop(aip_uv_loop *loop);
/* Call `on_signal` on the loop thread each time the process gets `signal_number`. The callback and
 * user pointer are borrowed until the loop is freed. */
AIP_API int aip_uv_loop_on_signal(aip_uv_loop *loop, int signal_number,
                                  void (*on_signal)(int signal_number, void *user), void *user,
                                  aip_error **err);
/* Nothing may be armed, queued or watched any more. Accepts NULL. */
AIP_API void aip_uv_loop_free(aip_uv_loop *loop);

typedef struct aip_sim_loop aip_sim_loop;

/* A loop on a virtual clock that starts at `wall_us`. Time moves only in aip_sim_loop_step(). It has
 * no descriptors: watches fail with AIP_EUNSUPPORTED. */
AIP_API int aip_sim_loop_new(int64_t wall_us, aip_sim_loop **ret_loop, aip_error **err);
AIP_API struct aip_loop aip_sim_loop_port(aip_sim_loop *loop);
/* Run one task, or, when none is queued, move the clock to the next timer and fire it. 0 when there
 * is nothing left to do, 1 otherwise. */
AIP_API int aip_sim_loop_step(aip_sim_loop *loop);
/* Step until `until_ms` (loop time) is reached or nothing is left. */
AIP_API void aip_sim_loop_run_until(aip_sim_loop *loop, int64_t until_ms);
AIP_API void aip_sim_loop_free(aip_sim_loop *loop);

/* A seeded generator (xoshiro256**), for reproducible runs. Owned by caller. */
struct aip_seeded_random {
        uint64_t state[4];
};
AIP_API struct aip_random aip_random_seeded(struct aip_seeded_random *generator, uint64_t seed);

AIP_END_DECLS

#endif
