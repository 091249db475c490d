/*
 * A person in the loop, without any service: a run asks, its image is kept as text, and another
 * process goes on from the text with the answer. The state is read, and changed, in between.
 *
 *     ./graph_resume draft.json                 write a draft and ask; the image is kept in draft.json
 *     ./graph_resume draft.json show            the state, and the question
 *     ./graph_resume draft.json edit "Dear all" change the text as if the node "write" had written it
 *     ./graph_resume draft.json yes             answer: it is sent; anything else, and it is written anew
 *
 * Build: cc graph_resume.c $(pkg-config --cflags --libs aiplat) -o graph_resume
 */
#include <aiplat/aiplat.h>
#include <stdio.h>
#include <string.h>

/* ---- the graph: __start__ → write → ask → send → __end__, or from ask back to write ---- */

static int write_text(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        char text[40];

        (void)user, (void)ret_update, (void)err;
        snprintf(text, sizeof(text), "Hello, draft %d", (int)aip_graph_task_step(task));
        aip_graph_task_write(task, "text", aip_value_string(aip_str_of(text)));
        return 0;
}

/* It runs twice: the first time the question has no answer yet. */
static int ask(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        const aip_value *answer = aip_graph_task_interrupt(task, aip_graph_task_get(task, "text"));

        (void)user, (void)ret_update, (void)err;
        if (answer)
                aip_graph_task_goto(task, aip_str_eq(aip_value_as_string(answer), aip_str_of("yes"))
                                                  ? "send"
                                                  : "write");
        return 0;
}

static int send_text(void *user, aip_graph_task *task, aip_value **ret_update, aip_error **err)
{
        (void)user, (void)ret_update, (void)err;
        aip_graph_task_write(task, "is_sent", aip_value_bool(1));
        return 0;
}

static int build(aip_graph **ret_graph, aip_error **err)
{
        static const char *const targets[] = {"send", "write"};
        struct aip_node_options asking = AIP_NODE_OPTIONS_INIT;
        aip_graph_builder *b = aip_graph_builder_new();

        asking.run = ask;
        asking.targets = targets; /* where it may go */
        asking.n_targets = 2;
        aip_graph_builder_add_channel(b, "text", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_channel(b, "is_sent", AIP_CHANNEL_LAST_VALUE);
        aip_graph_builder_add_function(b, "write", write_text, NULL);
        aip_graph_builder_add_node(b, "ask", &asking);
        aip_graph_builder_add_function(b, "send", send_text, NULL);
        aip_graph_builder_add_edge(b, AIP_GRAPH_START, "write");
        aip_graph_builder_add_edge(b, "write", "ask");
        aip_graph_builder_add_edge(b, "send", AIP_GRAPH_END);
        return aip_graph_compile(b, ret_graph, err);
}

/* ---- images as files: they are plain JSON ---- */

static int load(const char *path, aip_value **ret_image, aip_error **err)
{
        char text[1 << 16];
        FILE *file = fopen(path, "r");
        size_t n = file ? fread(text, 1, sizeof(text), file) : 0;

        if (!file)
                return aip_error_set(err, AIP_EIO, "%s cannot be read", path);
        fclose(file);
        return aip_value_parse((struct aip_str){text, n}, ret_image, err);
}

static int save(const char *path, const aip_value *image, aip_error **err)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 16);
        FILE *file = NULL;
        int code = aip_value_print(image, &text, err);

        if (code == 0 && (!(file = fopen(path, "w")) || fputs(text.p, file) < 0))
                code = aip_error_set(err, AIP_EIO, "%s cannot be written", path);
        if (file && fclose(file) != 0 && code == 0)
                code = aip_error_set(err, AIP_EIO, "%s cannot be written", path);
        aip_buf_deinit(&text);
        return code;
}

/* ---- what a user can do ---- */

static void print(const char *what, const aip_value *value)
{
        struct aip_buf text = AIP_BUF_INIT(1 << 16);

        if (aip_value_print(value, &text, NULL) == 0)
                printf("%s %s\n", what, text.p);
        aip_buf_deinit(&text);
}

/* From the image (NULL: from the start) until it has ended, or asks. */
static int go_on(const aip_graph *graph, const char *path, const aip_value *image,
                 const char *answer, aip_error **err)
{
        struct aip_graph_invoke_options options = AIP_GRAPH_INVOKE_OPTIONS_INIT;
        aip_value *state = NULL, *questions = NULL, *next = NULL;
        aip_value *answers = answer ? aip_value_string(aip_str_of(answer)) : NULL;

        options.image = image;
        options.answers =
                answers; /* to the one open question; of several: an object by their ids */
        options.ret_questions = &questions;
        options.ret_image = &next;
        int code = aip_graph_invoke(graph, NULL, &options, &state, err);
        if (code == 0)
                print(questions ? "it asks" : "it ended with", questions ? questions : state);
        if (code == 0)
                code = save(path, next, err);
        aip_value_unref(answers);
        aip_value_unref(state);
        aip_value_unref(questions);
        aip_value_unref(next);
        return code;
}

/* Write to the state as a node: what comes next is what would come after that node. */
static int edit(const aip_graph *graph, const char *path, const aip_value *image, const char *text,
                aip_error **err)
{
        struct aip_graph_update update = AIP_GRAPH_UPDATE_INIT;
        aip_value *values = aip_value_object();
        int code;

        if (!values ||
            aip_value_object_set_cstr(&values, "text", aip_value_string(aip_str_of(text))) < 0) {
                aip_value_unref(values);
                return aip_error_set_nomem(err);
        }
        update.image = image; /* it stays as it was: keep it, and there are two branches */
        update.values = values;
        update.as_node = "write";
        code = aip_graph_update_state(graph, &update, err);
        if (code == 0)
                code = go_on(graph, path, update.ret_image, NULL, err);
        aip_value_unref(update.ret_image);
        aip_value_unref(update.ret_changes);
        aip_value_unref(values);
        return code;
}

int main(int argc, char **argv)
{
        const char *path = argc > 1 ? argv[1] : "draft.json", *word = argc > 2 ? argv[2] : NULL;
        aip_graph *graph = NULL;
        aip_value *image = NULL;
        aip_error *err = NULL;
        int code = build(&graph, &err);

        if (code == 0 && word)
                code = load(path, &image, &err);
        if (code == 0 && word && strcmp(word, "show") == 0)
                print("the state is", aip_value_get_cstr(image, "channels"));
        else if (code == 0 && word && strcmp(word, "edit") == 0)
                code = edit(graph, path, image, argc > 3 ? argv[3] : "", &err);
        else if (code == 0)
                code = go_on(graph, path, image, word, &err);
        if (code < 0)
                fprintf(stderr, "graph_resume: %s\n", aip_error_message(err));
        aip_value_unref(image);
        aip_graph_unref(graph);
        aip_error_free(err);
        return code < 0 ? 1 : 0;
}
