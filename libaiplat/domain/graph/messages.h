/*
 * The messages of a chat as a channel keeps them: a list of objects, each with an id of its own. Pure
 * functions on values, called by channels.c when a step is merged and by graph_task.c when a node
 * writes. They know nothing of roles but "remove".
 */
#ifndef AIPLAT_DOMAIN_GRAPH_MESSAGES_H
#define AIPLAT_DOMAIN_GRAPH_MESSAGES_H

#include <aiplat/value.h>

/* Whether `value` is a list of objects that have ids and remove nothing. */
int aip_messages_are(const aip_value *value);

/* What a node wrote as a list of messages that all have ids: those without get "PREFIX.n", n counting
 * from 0. `write` is a message, a string, or a list of these; borrowed. *ret_messages is owned. */
int aip_messages_normalize(const aip_value *write, const char *prefix, aip_value **ret_messages,
                           aip_error **err);

/* Merge normalized messages into *value, a list: same id replaces, "remove" removes, others are added
 * at the end. `messages` is borrowed. Returns 1 when it did more than add, 0 when not, or an error; then
 * *value is some of the way. */
int aip_messages_merge(aip_value **value, const aip_value *messages, aip_error **err);

#endif
