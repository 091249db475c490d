/*
 * What the suites of the services share: one process of the platform on the virtual clock, with a
 * memory store and a broker of its own, and operations that are waited for.
 */
#ifndef TESTS_UNIT_ONE_NODE_H
#define TESTS_UNIT_ONE_NODE_H

#include "app/node.h"
#include "macros.h"
#include "memory/memory_store.h"
#include "test_loop.h"
#include <criterion/criterion.h>
#include <stdio.h>

struct one_node {
        struct test_loop loop;
        struct aip_store store;
        struct memory_store *memory;
        struct broker broker;
        struct node node;
        struct aip_log log;
        char last_warning[512];
        int n_warnings;
};

static inline void note_log(void *self, const struct aip_log_record *record)
{
        struct one_node *one = self;

        if (record->level < AIP_LOG_WARNING)
                return;
        one->n_warnings++;
        snprintf(one->last_warning, sizeof(one->last_warning), "%s", record->message);
}

/* op->user counts how often an operation was done. */
static inline void count_done(struct aip_op *op)
{
        op->user = (void *)((uintptr_t)op->user + 1);
}

static inline int is_done(void *op)
{
        return ((struct aip_op *)op)->user != NULL;
}

static inline void await(struct one_node *one, struct aip_op *op)
{
        cr_assert(test_loop_wait(&one->loop, 4000, is_done, op), "it never ended");
        cr_assert_eq((uintptr_t)op->user, 1u, "done more than once");
}

static inline int64_t now_ms(const struct one_node *one)
{
        return aip_now_ms(one->loop.port);
}

static inline void pass_ms(struct one_node *one, int64_t ms)
{
        test_loop_pass_ms(&one->loop, ms);
}

/* A configuration named `name` that answers as `model` says (adapters.h: the simulated provider). */
static inline void put_config(struct one_node *one, const char *name, const char *model, int is_active)
{
        struct aip_llm_config_fields f = AIP_LLM_CONFIG_FIELDS_INIT;
        struct aip_config_put put = {.op.done = count_done, .mode = AIP_PUT_UPSERT};
        aip_llm_config *config = NULL;

        f.name = aip_str_of(name);
        f.provider = aip_str_of("simulated");
        f.model_name = aip_str_of(model);
        f.is_active = is_active;
        cr_assert_eq(aip_llm_config_new(&f, &config, NULL), 0);
        put.config = config;
        one->store.catalog.ops->put_config(one->store.catalog.self, &put);
        await(one, &put.op);
        cr_assert_null(put.op.err);
        aip_llm_config_unref(put.ret_config);
        aip_llm_config_unref(config);
}

static inline void put_template(struct one_node *one, const char *name, const char *content)
{
        struct aip_prompt_template_fields f = AIP_PROMPT_TEMPLATE_FIELDS_INIT;
        struct aip_template_put put = {.op.done = count_done, .mode = AIP_PUT_UPSERT};
        aip_prompt_template *prompt_template = NULL;

        f.name = aip_str_of(name);
        f.content = aip_str_of(content);
        cr_assert_eq(aip_prompt_template_new(&f, &prompt_template, NULL), 0);
        put.prompt_template = prompt_template;
        one->store.catalog.ops->put_template(one->store.catalog.self, &put);
        await(one, &put.op);
        cr_assert_null(put.op.err);
        aip_prompt_template_unref(put.ret_template);
        aip_prompt_template_unref(prompt_template);
}

/* The store, with the configurations fast, slow (1 s), endless and off; the broker; the process. */
static inline void one_node_open(struct one_node *one, struct node_options options)
{
        struct aip_store_options o = {.self_size = sizeof(o), .url = "memory:"};

        *one = (struct one_node){.n_warnings = 0};
        one->log = (struct aip_log){note_log, one, AIP_LOG_INFO};
        test_loop_open(&one->loop, 1);
        o.loop = one->loop.port;
        cr_assert_eq(aip_memory_store_new(&o, &one->store, NULL), 0);
        one->memory = one->store.self;
        broker_open(&one->broker, one->loop.port, 7);
        put_config(one, "fast", "simulated,echo", 1);
        put_config(one, "slow", "simulated,echo,latency=1000", 1);
        put_config(one, "endless", "simulated,latency=10000000", 1);
        put_config(one, "off", "simulated", 0);
        options.log = &one->log;
        node_open(&one->node, one->loop.port, &one->store, &one->broker, &options);
        if (!options.does_not_start)
                pass_ms(one, 10);
}

static inline void one_node_close(struct one_node *one)
{
        struct aip_op op = {.done = count_done};

        if (!one->node.close_op.done)
                node_begin_close(&one->node, 0);
        cr_assert(test_loop_wait(&one->loop, 100, node_is_closed, &one->node), "it does not close");
        node_free(&one->node);
        broker_close(&one->broker);
        one->store.close(one->store.self, &op);
        await(one, &op);
        cr_assert_eq(aip_sim_loop_step(one->loop.sim), 0, "something is left on the loop");
        test_loop_close(&one->loop);
}

static inline struct aip_job_submit submit_of(const char *prompt, const char *config)
{
        struct aip_job_submit submit = {.op.done = count_done, .spec = AIP_JOB_SPEC_INIT};

        submit.spec.prompt = aip_str_of(prompt);
        submit.spec.config_name = aip_str_of(config);
        return submit;
}

/* Submit and expect success. */
static inline struct aip_id submit(struct one_node *one, struct aip_job_submit request)
{
        aip_job_service_submit(one->node.service, &request);
        await(one, &request.op);
        cr_assert_null(request.op.err, "%s", aip_error_message(request.op.err));
        return request.ret_job_id;
}

static inline const struct aip_job_fields *stored(const struct one_node *one, const struct aip_id *id)
{
        const struct memory_job *known = aip_memory_job_find(one->memory, id);

        cr_assert_not_null(known);
        return aip_job_fields(known->job);
}

static inline void expect_status(const struct one_node *one, const struct aip_id *id,
                                 enum aip_job_status status)
{
        const struct aip_job_fields *f = stored(one, id);

        cr_expect_str_eq(aip_job_status_name(f->status), aip_job_status_name(status), "%.*s",
                         AIP_STR_ARG(f->error_message));
}

static inline void cancel(struct one_node *one, const struct aip_id *id)
{
        struct aip_job_cancel request = {.op.done = count_done, .id = *id};

        aip_job_service_cancel(one->node.service, &request);
        await(one, &request.op);
        cr_assert_null(request.op.err);
        cr_assert_eq(request.ret_outcome, AIP_CANCEL_CANCELLED);
}

#endif
