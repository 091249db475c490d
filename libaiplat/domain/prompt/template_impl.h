/* PromptTemplate, seen from inside: shared by the files of this folder, no one else's. */
#ifndef AIPLAT_DOMAIN_TEMPLATE_IMPL_H
#define AIPLAT_DOMAIN_TEMPLATE_IMPL_H

#include "prompt/template_parser.h"
#include <stdatomic.h>

struct aip_prompt_template {
        atomic_uint n_refs;
        struct aip_prompt_template_fields fields; /* strings follow the struct */
        struct aip_segments system, user;
        struct aip_template_variables variables;
        struct aip_template_arena defaults;
};

#endif
