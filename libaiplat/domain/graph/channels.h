/*
 * Channels of a graph's state: how each kind takes a write. Pure functions on values, called by
 * graph_compile.c (initial values) and graph_step.c (writes). They know nothing of nodes or steps.
 */
#ifndef AIPLAT_DOMAIN_GRAPH_CHANNELS_H
#define AIPLAT_DOMAIN_GRAPH_CHANNELS_H

#include "graph_model.h"

/* AIP_EINVAL when `channel`'s options contradict each other. */
int aip_channel_check(const struct aip_graph_channel *channel, aip_error **err);

/* The value with which a run begins; *ret_value is NULL when the channel begins without one. */
int aip_channel_begin(const struct aip_graph_channel *channel, aip_value **ret_value,
                      aip_error **err);

/* Apply one write to *value (NULL: none yet). `write` is consumed always. Returns 0 when it only added
 * to the end of a list, AIP_CHANNEL_REWRITTEN when it did more, or an error. On failure *value is what it
 * was, unless a user's reducer or some of several messages changed it. */
#define AIP_CHANNEL_REWRITTEN 1
int aip_channel_apply(const struct aip_graph_channel *channel, aip_value **value, aip_value *write,
                      aip_error **err);

/* Replace *value (NULL: none yet) by `write`, which is consumed always, if the kind can hold it. */
int aip_channel_overwrite(const struct aip_graph_channel *channel, aip_value **value,
                          aip_value *write, aip_error **err);

/* Whether a step may write it once only. */
int aip_channel_is_single(const struct aip_graph_channel *channel);
/* Whether it is empty again after a step that did not write it. */
int aip_channel_is_passing(const struct aip_graph_channel *channel);

/* What a value of the kind must be, when `value` is not; else NULL. */
const char *aip_channel_wants(enum aip_channel_kind kind, const aip_value *value);

#endif
