/* Images of runs out of rows of the checkpoint store (checkpoint_image.h). */
#include "checkpoint_image.h"

#include "macros.h"
#include <aiplat/graph.h>

/* Reading the state must not take much more than what it holds. */
#define ROW_BYTES   64 /* what a row costs beside its changes */
#define BASE_FACTOR 4
#define BASE_BYTES  (64u << 10)

size_t aip_checkpoint_row_bytes(struct aip_str changes)
{
        return changes.n + ROW_BYTES;
}

int aip_checkpoint_is_base_due(size_t base_bytes, size_t since_bytes)
{
        return since_bytes > BASE_FACTOR * base_bytes + BASE_BYTES;
}

static int add_pending(const struct aip_checkpoint_load *load, aip_value **list, aip_error **err)
{
        for (size_t i = 0; i < load->ret_n_tasks; i++) {
                const struct aip_checkpoint_task *task = &load->ret_tasks[i];
                aip_value *said = NULL, *pair = NULL;
                int r = aip_value_parse(task->value, &said, err);
                if (r < 0)
                        return r;
                if (!(pair = aip_value_list()) ||
                    aip_value_list_append(&pair, aip_value_int(task->place)) < 0) {
                        aip_value_unref(pair);
                        aip_value_unref(said);
                        return aip_error_set_nomem(err);
                }
                if (aip_value_list_append(&pair, said) < 0) {
                        aip_value_unref(pair);
                        return aip_error_set_nomem(err);
                }
                if (aip_value_list_append(list, pair) < 0)
                        return aip_error_set_nomem(err);
        }
        return 0;
}

static int apply_rows(const struct aip_checkpoint_load *load, aip_value **channels, aip_error **err)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < load->ret_n; i++) {
                aip_value *changes = NULL;
                r = aip_value_parse(load->ret_checkpoints[i].changes, &changes, err);
                if (r == 0)
                        r = aip_graph_apply_changes(channels, changes, err);
                aip_value_unref(changes);
        }
        return r;
}

/* Put the image together; its parts are consumed always. */
static int join_image(const struct aip_checkpoint_load *load, aip_value *channels,
                      aip_value *pending, aip_value **ret_image, aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *image = NULL;
        int r = aip_value_parse(load->ret_checkpoints[load->ret_n - 1].place, &image, err);

        if (r < 0) {
                aip_value_unref(channels);
                aip_value_unref(pending);
                return r;
        }
        r = aip_value_object_set_cstr(&image, "channels", channels);
        if (r < 0)
                aip_value_unref(pending);
        else
                r = aip_value_object_set_cstr(&image, "pending", pending);
        if (r < 0)
                return aip_error_set_nomem(err);
        *ret_image = AIP_TAKE(image);
        return 0;
}

int aip_checkpoint_image(const struct aip_checkpoint_load *load, aip_value **ret_image,
                         aip_error **err)
{
        _cleanup_(aip_value_unref_p) aip_value *channels = aip_value_object();
        _cleanup_(aip_value_unref_p) aip_value *pending = aip_value_list();
        int r = channels && pending ? 0 : aip_error_set_nomem(err);

        if (r == 0)
                r = apply_rows(load, &channels, err);
        if (r == 0)
                r = add_pending(load, &pending, err);
        if (r == 0)
                r = join_image(load, AIP_TAKE(channels), AIP_TAKE(pending), ret_image, err);
        return r;
}
