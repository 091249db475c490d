/*
 * What the checkpoint store gives, as the image of a run (graph_run.h); and when a whole checkpoint is due. For
 * job_saver.c and thread_service.c; pure.
 */
#ifndef AIPLAT_APPLICATION_CHECKPOINT_IMAGE_H
#define AIPLAT_APPLICATION_CHECKPOINT_IMAGE_H

#include <aiplat/ports/checkpoint_store.h>
#include <aiplat/value.h>

/* Of a load that has found something. *ret_image is owned by caller. */
int aip_checkpoint_image(const struct aip_checkpoint_load *load, aip_value **ret_image,
                         aip_error **err);

/* What one row adds to the reading of a state. */
size_t aip_checkpoint_row_bytes(struct aip_str changes);
/* Whether the next one is to be a base, when the last base held so much and the rows since so much. */
int aip_checkpoint_is_base_due(size_t base_bytes, size_t since_bytes);

#endif
