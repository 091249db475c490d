/*
 * Templates, parsed: a list of segments that point into the source. Called by prompt_template.c,
 * read by template_renderer.c. Knows the syntax (aiplat/prompt_template.h), not what a template is
 * for.
 */
#ifndef AIPLAT_DOMAIN_TEMPLATE_PARSER_H
#define AIPLAT_DOMAIN_TEMPLATE_PARSER_H

#include "hash_map.h"
#include <aiplat/prompt_template.h>

enum aip_segment_kind {
        AIP_SEGMENT_TEXT = 0, /* `text` as it stands */
        AIP_SEGMENT_PROMPT,   /* the job's prompt */
        AIP_SEGMENT_VARIABLE  /* variables[variable], else `text` if there is a default */
};

struct aip_segment {
        enum aip_segment_kind kind;
        uint32_t variable;
        int has_default;
        struct aip_str text; /* the text, or the default */
};

struct aip_segments {
        struct aip_segment *items;
        size_t n, capacity;
};

/* The variables of all parts of one template, in order of first appearance, each once. */
struct aip_template_variables {
        struct aip_template_variable *items;
        size_t n, capacity;
        struct aip_hash_map index; /* name → position + 1; needed while parsing only */
};

/* Room for defaults that contain escapes: the only text that is not a piece of the source. */
struct aip_template_arena {
        char *p; /* allocated when first needed, as large as it can ever become */
        size_t n, capacity;
};

struct aip_template_parse {
        const char *what;      /* the part's name, for messages */
        struct aip_str source; /* valid UTF-8; segments point into it */
        struct aip_segments *segments;
        struct aip_template_variables *variables;
        struct aip_template_arena *arena;
        size_t at; /* the reading position */
};

/* Parse the whole source, appending to segments and variables. AIP_EINVAL with line and column of
 * what is wrong, or AIP_ENOMEM; then both hold an undefined but releasable part. */
int aip_template_parse(struct aip_template_parse *parse, aip_error **err);

#endif
