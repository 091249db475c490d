/*
 * One connection to the broker and the thread around it: what the publisher and the consumer have
 * in common. librabbitmq blocks and is not thread-safe, so all of it happens on the link's own
 * thread; other threads may wake it, stop it, and cut its socket when it is stuck in a call.
 *
 * Known traps of librabbitmq 0.11 that this file is built around:
 *  - a send to a frozen broker never returns, whatever the heartbeat: rabbitmq_link_watch() breaks
 *    the socket (by a duplicate of the descriptor: the library may close its own at any time);
 *  - heartbeats are sent and checked only inside library calls: rabbitmq_link_poll() wakes up at
 *    least every second and the owner then calls rabbitmq_link_read();
 *  - decoded frames live in pools that grow until released: read releases what was read before.
 */
#ifndef AIPLAT_RABBITMQ_LINK_H
#define AIPLAT_RABBITMQ_LINK_H

#include "rabbitmq_settings.h"

#include <aiplat/log.h>
#include <amqp_framing.h>
#include <pthread.h>

#define RABBITMQ_CHANNEL         1 /* the one that is worked on */
#define RABBITMQ_DECLARE_CHANNEL 2 /* opened to declare: a refusal closes the channel it came on */
#define RABBITMQ_REASON_BYTES    400
#define RABBITMQ_STUCK_LIMIT_MS  5000
#define RABBITMQ_COMPONENT       "rabbitmq"

struct rabbitmq_link {
        /* unchanging */
        const struct rabbitmq_settings *settings;
        const struct aip_log *log;
        const char *role; /* "publisher", "consumer" */
        int wake_fd;      /* eventfd */

        /* link thread only */
        const struct rabbitmq_settings *node; /* of the settings, the one that is tried or used */
        amqp_connection_state_t connection;
        int wants_exchange; /* declare the event exchange too */
        uint64_t jitter;
        int64_t backoff_ms;
        int64_t opened_ms;
        int64_t read_ms; /* rabbitmq_link_poll() last asked for a read then */
        int64_t logged_ms;
        char logged[RABBITMQ_REASON_BYTES]; /* the trouble last logged */

        /* atomic */
        int64_t busy_since_ms; /* in a library call since; 0: in none */
        int must_stop;
        int is_up;

        /* locked */
        pthread_mutex_t lock;
        int socket;                         /* a duplicate, -1: none */
        char reason[RABBITMQ_REASON_BYTES]; /* why it does not work at the moment */
};

/* ---- owner's (loop) thread ---- */

int rabbitmq_link_init(struct rabbitmq_link *link, const struct rabbitmq_settings *settings,
                       const struct aip_log *log, const char *role, uint64_t seed, aip_error **err);
/* After the thread has ended. */
void rabbitmq_link_deinit(struct rabbitmq_link *link);
void rabbitmq_link_stop(struct rabbitmq_link *link);
/* Break the socket when the thread has been in one library call for longer than `limit_ms`. */
void rabbitmq_link_watch(struct rabbitmq_link *link, int64_t limit_ms);

/* ---- any thread ---- */

int64_t rabbitmq_link_now_ms(void); /* monotonic */
void rabbitmq_link_wake(struct rabbitmq_link *link);
int rabbitmq_link_is_stopping(struct rabbitmq_link *link);
int rabbitmq_link_is_up(struct rabbitmq_link *link);
void rabbitmq_link_set_reason(struct rabbitmq_link *link, const char *reason);
/* AIP_EUNAVAILABLE with the reason. */
int rabbitmq_link_error(struct rabbitmq_link *link, aip_error **err);

/* ---- link thread ---- */

/* Connect, log in, declare, open the channel. One try. */
int rabbitmq_link_open(struct rabbitmq_link *link, aip_error **err);
/* Declare queue and exchange, on a channel of its own. */
int rabbitmq_link_declare(struct rabbitmq_link *link, aip_error **err);
/* Politely: tell the broker, and wait for its answer a little. */
void rabbitmq_link_close(struct rabbitmq_link *link, int is_polite);
/* Log the trouble (once, not at every try), remember it as the reason. Consumed always. */
void rabbitmq_link_report(struct rabbitmq_link *link, aip_error *trouble);
/* Wait before the next try, 0.1–5 s with jitter; ends early when stopped. */
void rabbitmq_link_back_off(struct rabbitmq_link *link);
/* Wait until woken or something can be read, a second at most. `timeout_ms` below that: so long.
 * Returns whether it is time to read: there is something, or heartbeats want to be looked after. */
int rabbitmq_link_poll(struct rabbitmq_link *link, int timeout_ms);
/* Wait until woken, however long; no connection is open. */
void rabbitmq_link_sleep(struct rabbitmq_link *link);
/* The next frame: 1, 0 when there is none yet, or an error, which a close by the broker is too. The
 * frame is valid until the next call. `is_first`: look at the socket, not only at what was read. */
int rabbitmq_link_read(struct rabbitmq_link *link, int is_first, amqp_frame_t *ret_frame,
                       aip_error **err);
/* Around every library call that may send: for rabbitmq_link_watch(). */
void rabbitmq_link_enter(struct rabbitmq_link *link);
void rabbitmq_link_leave(struct rabbitmq_link *link);
/* What a call said, as an error: `status` of librabbitmq, `reply` of its calls with an answer. */
int rabbitmq_link_fail(struct rabbitmq_link *link, int status, const char *what, aip_error **err);
int rabbitmq_link_check(struct rabbitmq_link *link, amqp_rpc_reply_t reply, const char *what,
                        aip_error **err);
/* Whether rabbitmq_link_write() may be used: not over TLS, which librabbitmq keeps to itself. */
int rabbitmq_link_can_write(const struct rabbitmq_link *link);
/* Write whole frames to the socket, past librabbitmq: all of `bytes`, or an error. Waits for a
 * broker that does not read; rabbitmq_link_watch() ends that. */
int rabbitmq_link_write(struct rabbitmq_link *link, struct aip_str bytes, aip_error **err);
/* While on, small sends are gathered into full packets. */
void rabbitmq_link_cork(struct rabbitmq_link *link, int on);

#endif
