/*
 * Checkpoints on their way out of a store: rows are gathered with their texts, and then handed over as one
 * block that the caller frees at once. For the stores' adapters; pure memory.
 */
#ifndef AIPLAT_STORE_CHECKPOINT_ROWS_H
#define AIPLAT_STORE_CHECKPOINT_ROWS_H

#include <aiplat/ports/checkpoint_store.h>

/* AIP_EINVAL with a message when a request cannot be right. */
int aip_store_check_checkpoint(const struct aip_checkpoint *checkpoint, aip_error **err);
int aip_store_check_save(const struct aip_checkpoint_save *save, aip_error **err);
int aip_store_check_checkpoints(const struct aip_checkpoint_list *list, aip_error **err);

/* Zeroed memory is empty. Texts hold offsets until they are taken. */
struct aip_checkpoint_rows {
        struct aip_checkpoint *rows;
        size_t n, capacity;
        struct aip_checkpoint_task *tasks;
        size_t n_tasks, tasks_capacity;
        struct aip_buf text, task_text;
};

/* Texts are copied. 0 or AIP_ENOMEM. */
int aip_checkpoint_rows_add(struct aip_checkpoint_rows *rows, const struct aip_checkpoint *row);
int aip_checkpoint_rows_add_task(struct aip_checkpoint_rows *rows, int32_t place,
                                 struct aip_str value);
/* The rows as one block, owned by caller; *ret_n of them. NULL with *ret_n 0 when there are none. 0 or
 * AIP_ENOMEM. */
int aip_checkpoint_rows_take(struct aip_checkpoint_rows *rows, struct aip_checkpoint **ret_rows,
                             size_t *ret_n);
int aip_checkpoint_rows_take_tasks(struct aip_checkpoint_rows *rows,
                                   struct aip_checkpoint_task **ret_tasks, size_t *ret_n);
void aip_checkpoint_rows_deinit(struct aip_checkpoint_rows *rows);

#endif
