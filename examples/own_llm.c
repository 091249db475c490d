/*
 * Write your own LLM adapter: a provider "parrot" that repeats the last user message after a
 * moment, without blocking the loop, and can be cancelled. It is registered under its name, found
 * by the configuration that names it, and called on a libuv loop.
 *
 * Build: cc own_llm.c $(pkg-config --cflags --libs aiplat)
 */
#include <aiplat/llm_registry.h>
#include <aiplat/loops.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the adapter ---- */

struct parrot {
        struct aip_loop loop;
};

/* What the adapter remembers of one call. A real adapter keeps its connection's state here. */
struct squawk {
        struct aip_timer timer;
        struct parrot *parrot;
        struct aip_llm_call *call;
};

/* Every call ends here, exactly once; `err` is consumed always. `done` runs in a later turn. */
static void end(struct squawk *squawk, aip_error *err)
{
        struct aip_llm_call *call = squawk->call;
        struct aip_loop loop = squawk->parrot->loop;
        aip_timer_clear(loop, &squawk->timer);
        call->impl = NULL;
        free(squawk);
        aip_op_finish(loop, &call->op, err);
}

static void answer(struct aip_timer *timer)
{
        struct squawk *squawk = AIP_CONTAINER_OF(timer, struct squawk, timer);
        struct aip_llm_call *call = squawk->call;
        aip_error *err = NULL;
        struct aip_str said = call->messages[call->n_messages - 1].content;
        char *content = aip_str_dup(said);
        if (!content) {
                aip_error_set_nomem(&err);
        } else {
                call->ret_answer = (struct aip_llm_answer){
                        .content = content,
                        .content_bytes = said.n,
                        .finish_reason = AIP_LLM_FINISH_STOP,
                        .input_tokens = -1, /* a parrot does not count */
                        .output_tokens = -1,
                        .provider = "parrot",
                };
                call->ret_tries = 1;
        }
        end(squawk, err);
}

static void parrot_complete(void *self, struct aip_llm_call *call)
{
        struct parrot *parrot = self;
        struct squawk *squawk = calloc(1, sizeof(*squawk));
        if (!squawk) {
                aip_error *err = NULL;
                aip_error_set_nomem(&err);
                call->impl = NULL;
                aip_op_finish(parrot->loop, &call->op, err);
                return;
        }
        *squawk = (struct squawk){.timer.fire = answer, .parrot = parrot, .call = call};
        call->impl = squawk;
        aip_timer_set(parrot->loop, &squawk->timer, 100);
}

/* Idempotent: a call that has ended already has no squawk any more. */
static void parrot_cancel(void *self, struct aip_llm_call *call)
{
        (void)self;
        aip_error *err = NULL;
        if (!call->impl)
                return;
        aip_error_set(&err, AIP_ECANCELLED, "the parrot was silenced");
        end(call->impl, err);
}

static void parrot_free(void *self)
{
        free(self);
}

static const struct aip_llm_ops parrot_ops = {
        .self_size = sizeof(parrot_ops),
        .name = "parrot",
        .complete = parrot_complete,
        .cancel = parrot_cancel,
        .free = parrot_free,
};

/* ---- a program that uses it ---- */

struct program {
        struct aip_llm_call call;
        aip_uv_loop *loop;
};

static void answered(struct aip_op *op)
{
        struct program *program = AIP_CONTAINER_OF(op, struct program, call.op);
        if (op->err)
                fprintf(stderr, "%s\n", aip_error_message(op->err));
        else
                printf("%s says: %s\n", program->call.ret_answer.provider,
                       program->call.ret_answer.content);
        aip_uv_loop_stop(program->loop);
}

static int add_parrot(aip_llm_registry *registry, struct aip_loop loop, aip_error **err)
{
        struct parrot *parrot = malloc(sizeof(*parrot));
        if (!parrot)
                return aip_error_set_nomem(err);
        parrot->loop = loop;
        int code = aip_llm_registry_add(registry, (struct aip_llm){&parrot_ops, parrot}, err);
        if (code < 0)
                free(parrot);
        return code;
}

static int make_config(aip_llm_config **ret_config, aip_error **err)
{
        struct aip_llm_config_fields fields = AIP_LLM_CONFIG_FIELDS_INIT;
        fields.name = aip_str_of("my-parrot");
        fields.provider = aip_str_of("parrot");
        fields.model_name = aip_str_of("grey-1");
        return aip_llm_config_new(&fields, ret_config, err);
}

int main(void)
{
        static const struct aip_llm_message messages[] = {
                {.role = AIP_LLM_SYSTEM, .content = {"You are a parrot.", 17}},
                {.role = AIP_LLM_USER, .content = {"Hello!", 6}},
        };
        struct program program = {
                .call = {.op.done = answered, .messages = messages, .n_messages = 2}};
        aip_llm_registry *registry = NULL;
        aip_llm_config *config = NULL;
        aip_error *err = NULL;
        struct aip_llm llm;

        if (aip_uv_loop_new(&program.loop, &err) == 0 &&
            aip_llm_registry_new(NULL, &registry, &err) == 0 &&
            add_parrot(registry, aip_uv_loop_port(program.loop), &err) == 0 &&
            make_config(&config, &err) == 0 &&
            aip_llm_registry_find(registry, config, &llm, &err) == 0) {
                program.call.config = config;
                llm.ops->complete(llm.self, &program.call);
                aip_uv_loop_run(program.loop);
        } else {
                fprintf(stderr, "%s\n", aip_error_message(err));
        }
        int is_good = !err && !program.call.op.err;
        aip_llm_answer_deinit(&program.call.ret_answer);
        aip_error_free(program.call.op.err);
        aip_error_free(err);
        aip_llm_config_unref(config);
        aip_llm_registry_free(registry);
        aip_uv_loop_free(program.loop);
        return is_good ? 0 : 1;
}
