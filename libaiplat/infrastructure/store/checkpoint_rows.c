/* Checkpoints on their way out of a store, and checks of what comes in (checkpoint_rows.h). */
#include "store/checkpoint_rows.h"

#include "macros.h"
#include "mem.h"

#define TEXT_MAX_BYTES (1u << 30)

const char *aip_checkpoint_source_name(enum aip_checkpoint_source source)
{
        static const char *const names[] = {"input", "loop", "update", "fork"};

        return (unsigned)source < AIP_ARRAY_SIZE(names) ? names[source] : "loop";
}

static int check_key(struct aip_str ns, int64_t n, aip_error **err)
{
        if (ns.n > AIP_CHECKPOINT_NS_MAX_BYTES || aip_str_utf8_length(ns) < 0)
                return aip_error_set(err, AIP_EINVAL,
                                     "checkpoint: a namespace is text of at most %d bytes",
                                     AIP_CHECKPOINT_NS_MAX_BYTES);
        if (n < 1)
                return aip_error_set(err, AIP_EINVAL, "checkpoint: numbers begin at 1");
        return 0;
}

int aip_store_check_checkpoint(const struct aip_checkpoint *c, aip_error **err)
{
        int r = check_key(c->ns, c->n, err);

        if (r < 0)
                return r;
        if (c->base < 1 || c->base > c->n || c->parent < 0 || c->parent >= c->n)
                return aip_error_set(err, AIP_EINVAL,
                                     "checkpoint: base and parent must be at or below its number");
        if (c->base != c->n && c->parent != c->n - 1)
                return aip_error_set(err, AIP_EINVAL,
                                     "checkpoint: one that does not follow its parent is a base");
        return 0;
}

int aip_store_check_save(const struct aip_checkpoint_save *save, aip_error **err)
{
        const struct aip_checkpoint *c = &save->checkpoint;

        return save->n_tasks > 0 ? check_key(c->ns, c->n, err)
                                 : aip_store_check_checkpoint(c, err);
}

int aip_store_check_checkpoints(const struct aip_checkpoint_list *list, aip_error **err)
{
        if (list->limit < 1 || list->limit > AIP_CHECKPOINT_LIST_MAX)
                return aip_error_set(err, AIP_EINVAL, "checkpoints: limit must be 1–%d, got %u",
                                     AIP_CHECKPOINT_LIST_MAX, list->limit);
        return 0;
}

/* A text in the buffer, told by where it begins. */
static int keep(struct aip_buf *buf, struct aip_str *text)
{
        size_t at = buf->n;

        buf->max_bytes = TEXT_MAX_BYTES;
        if (text->n > 0 && aip_buf_append(buf, *text) < 0)
                return AIP_ENOMEM;
        text->p = (const char *)(uintptr_t)at; // NOLINT: an offset until it is taken
        return 0;
}

static void point(struct aip_str *text, const char *bytes)
{
        text->p = bytes + (uintptr_t)text->p;
}

static int make_room(void **array, size_t n, size_t *capacity, size_t bytes)
{
        void *grown;

        if (n < *capacity)
                return 0;
        grown = aip_realloc_array(*array, 2 * *capacity + 8, bytes);
        if (!grown)
                return AIP_ENOMEM;
        *array = grown;
        *capacity = 2 * *capacity + 8;
        return 0;
}

int aip_checkpoint_rows_add(struct aip_checkpoint_rows *rows, const struct aip_checkpoint *row)
{
        void *array = rows->rows;
        int r = make_room(&array, rows->n, &rows->capacity, sizeof(*row));
        struct aip_checkpoint copy = *row;

        rows->rows = array;
        if (r < 0 || keep(&rows->text, &copy.ns) < 0 || keep(&rows->text, &copy.place) < 0 ||
            keep(&rows->text, &copy.changes) < 0)
                return AIP_ENOMEM;
        rows->rows[rows->n++] = copy;
        return 0;
}

int aip_checkpoint_rows_add_task(struct aip_checkpoint_rows *rows, int32_t place,
                                 struct aip_str value)
{
        void *array = rows->tasks;
        int r = make_room(&array, rows->n_tasks, &rows->tasks_capacity, sizeof(*rows->tasks));

        rows->tasks = array;
        if (r < 0 || keep(&rows->task_text, &value) < 0)
                return AIP_ENOMEM;
        rows->tasks[rows->n_tasks++] = (struct aip_checkpoint_task){place, value};
        return 0;
}

/* The array and its texts, behind each other in one block; NULL when out of memory. */
static void *block_of(const void *array, size_t n, size_t bytes, const struct aip_buf *text)
{
        char *block = malloc(n * bytes + text->n);

        if (!block)
                return NULL;
        memcpy(block, array, n * bytes);
        if (text->n > 0)
                memcpy(block + n * bytes, aip_buf_str(text).p, text->n);
        return block;
}

int aip_checkpoint_rows_take(struct aip_checkpoint_rows *rows, struct aip_checkpoint **ret_rows,
                             size_t *ret_n)
{
        struct aip_checkpoint *block = NULL;

        if (rows->n > 0 &&
            !(block = block_of(rows->rows, rows->n, sizeof(*block), &rows->text)))
                return AIP_ENOMEM;
        for (size_t i = 0; i < rows->n; i++) {
                point(&block[i].ns, (const char *)(block + rows->n));
                point(&block[i].place, (const char *)(block + rows->n));
                point(&block[i].changes, (const char *)(block + rows->n));
        }
        *ret_rows = block;
        *ret_n = rows->n;
        return 0;
}

int aip_checkpoint_rows_take_tasks(struct aip_checkpoint_rows *rows,
                                   struct aip_checkpoint_task **ret_tasks, size_t *ret_n)
{
        struct aip_checkpoint_task *block = NULL;

        if (rows->n_tasks > 0 &&
            !(block = block_of(rows->tasks, rows->n_tasks, sizeof(*block), &rows->task_text)))
                return AIP_ENOMEM;
        for (size_t i = 0; i < rows->n_tasks; i++)
                point(&block[i].value, (const char *)(block + rows->n_tasks));
        *ret_tasks = block;
        *ret_n = rows->n_tasks;
        return 0;
}

void aip_checkpoint_rows_deinit(struct aip_checkpoint_rows *rows)
{
        aip_free(rows->rows);
        aip_free(rows->tasks);
        aip_buf_deinit(&rows->text);
        aip_buf_deinit(&rows->task_text);
        *rows = (struct aip_checkpoint_rows){0};
}
