/* What aiplatctl prints: JSON as the gateway gave it, or tables and key-value lists for people. */
#ifndef AIPLATCTL_OUTPUT_H
#define AIPLATCTL_OUTPUT_H

#include <aiplat/value.h>

struct column {
        const char *member; /* of each row's object */
        const char *title;
        int max_width; /* longer texts are cut, with an ellipsis */
};

void output_json(struct aip_str json);
/* For people to read and to change: a member or an item a line. */
void output_json_indented(const aip_value *value);
/* Rows are objects. The last column is not padded. */
void output_table(const struct column *columns, size_t n_columns, const aip_value *rows);
/* All members of an object, one a line; long texts last, as they are. */
void output_object(const aip_value *object);

/* A line on standard error that is written over while something takes its time; nothing unless
 * standard error is a terminal. `progress_end` wipes it. */
void progress_show(const char *what, double seconds);
void progress_end(void);

#endif
