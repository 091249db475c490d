/*
 * Parameters of one statement in PostgreSQL's binary format. Called by the senders of each kind.
 * Running out of memory sticks until the next pg_params_clear(), so that only pg_lane_send() looks.
 */
#include "pg.h"
#include <endian.h>

/* Microseconds between 1970 and 2000, where PostgreSQL's time begins. */
#define PG_EPOCH_US   INT64_C(946684800000000)
#define PG_KEEP_BYTES (1u << 20)

enum { ARRAY_HEADER = 20, ELEMENT_HEADER = 4 }; /* bytes of an array's encoding */

/* A batch is gathered up to PG_BATCH_BYTES, a single operation may be larger. */
#define PG_PARAM_MAX_BYTES (256u << 20)

void pg_params_clear(struct pg_params *params)
{
        for (int i = 0; i < params->n; i++) {
                struct aip_buf *bytes = &params->params[i].bytes;
                if (bytes->capacity > PG_KEEP_BYTES)
                        aip_buf_deinit(bytes);
                else
                        aip_buf_clear(bytes);
        }
        params->n = 0;
        params->is_out_of_memory = 0;
}

void pg_params_deinit(struct pg_params *params)
{
        for (int i = 0; i < PG_PARAMS_MAX; i++)
                aip_buf_deinit(&params->params[i].bytes);
        params->n = 0;
}

static void put(struct pg_params *params, const void *bytes, size_t n)
{
        struct aip_buf *buf = &params->params[params->n - 1].bytes;
        if (aip_buf_append(buf, aip_str_make(bytes, n)) < 0)
                params->is_out_of_memory = 1;
}

static void put_u32(struct pg_params *params, uint32_t u)
{
        uint32_t big = htobe32(u);
        put(params, &big, sizeof(big));
}

static struct pg_param *begin(struct pg_params *params)
{
        assert(params->n < PG_PARAMS_MAX);
        struct pg_param *param = &params->params[params->n++];
        param->bytes.max_bytes = PG_PARAM_MAX_BYTES;
        param->is_null = 0;
        return param;
}

void pg_array(struct pg_params *params, enum pg_type type)
{
        begin(params)->n_elements = 0;
        put_u32(params, 1); /* dimensions */
        put_u32(params, 1); /* may hold nulls */
        put_u32(params, (uint32_t)type);
        put_u32(params, 0); /* length: pg_lane_send() fills it in through count_element() */
        put_u32(params, 1); /* lower bound */
}

void pg_scalar(struct pg_params *params)
{
        begin(params)->n_elements = -1;
}

/* Keeps the length in the header right after every element. */
static void count_element(struct pg_params *params, uint32_t n_bytes)
{
        struct pg_param *param = &params->params[params->n - 1];
        if (param->n_elements < 0)
                return;
        param->n_elements++;
        uint32_t big = htobe32((uint32_t)param->n_elements);
        if (param->bytes.n >= ARRAY_HEADER)
                memcpy(param->bytes.p + 12, &big, sizeof(big));
        put_u32(params, n_bytes);
}

static void put_element(struct pg_params *params, const void *bytes, size_t n)
{
        count_element(params, (uint32_t)n);
        put(params, bytes, n);
}

void pg_put_null(struct pg_params *params)
{
        struct pg_param *param = &params->params[params->n - 1];
        param->is_null = 1;
        count_element(params, UINT32_MAX);
}

void pg_put_bool(struct pg_params *params, int b)
{
        char byte = b ? 1 : 0;
        put_element(params, &byte, 1);
}

void pg_put_int4(struct pg_params *params, int32_t i)
{
        uint32_t big = htobe32((uint32_t)i);
        put_element(params, &big, sizeof(big));
}

void pg_put_int8(struct pg_params *params, int64_t i)
{
        uint64_t big = htobe64((uint64_t)i);
        put_element(params, &big, sizeof(big));
}

void pg_put_float8(struct pg_params *params, double d)
{
        uint64_t bits;
        memcpy(&bits, &d, sizeof(bits));
        pg_put_int8(params, (int64_t)bits);
}

void pg_put_time(struct pg_params *params, int64_t us)
{
        if (us == 0)
                pg_put_null(params);
        else
                pg_put_int8(params, us - PG_EPOCH_US);
}

void pg_put_text(struct pg_params *params, struct aip_str s)
{
        put_element(params, s.p ? s.p : "", s.n);
}

void pg_put_text_or_null(struct pg_params *params, struct aip_str s)
{
        if (s.p)
                pg_put_text(params, s);
        else
                pg_put_null(params);
}

void pg_put_bytes(struct pg_params *params, const void *bytes, size_t n)
{
        put_element(params, bytes, n);
}

void pg_put_id(struct pg_params *params, const struct aip_id *id)
{
        put_element(params, id->bytes, sizeof(id->bytes));
}

void pg_put_span(struct pg_params *params, int nth)
{
        const struct pg_param *ids = &params->params[nth - 1];
        struct aip_id low, high, id;

        memset(&low, 0xFF, sizeof(low));
        memset(&high, 0, sizeof(high));
        for (size_t at = ARRAY_HEADER; at + ELEMENT_HEADER + sizeof(id) <= ids->bytes.n;
             at += ELEMENT_HEADER + sizeof(id)) {
                memcpy(&id, ids->bytes.p + at + ELEMENT_HEADER, sizeof(id));
                if (memcmp(&id, &low, sizeof(id)) < 0)
                        low = id;
                if (memcmp(&id, &high, sizeof(id)) > 0)
                        high = id;
        }
        pg_scalar(params);
        pg_put_id(params, &low);
        pg_scalar(params);
        pg_put_id(params, &high);
}

void pg_put_silent(struct pg_params *params, uint32_t muted_events)
{
        pg_array(params, PG_TEXT);
        for (int kind = AIP_TRANSITION_CREATED; kind < AIP_TRANSITION_KINDS; kind++) {
                struct aip_transition transition = {.kind = (enum aip_transition_kind)kind};
                enum aip_job_event_type types[AIP_JOB_EVENTS_PER_TRANSITION];
                uint32_t events = 0;
                for (size_t n = aip_transition_events(&transition, types); n > 0; n--)
                        events |= 1u << types[n - 1];
                if ((events & ~muted_events) == 0)
                        pg_put_text(params, aip_str_of(aip_transition_kind_name(transition.kind)));
        }
}
