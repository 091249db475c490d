/* What is commonly known about families of models: which is stronger, which is faster. Called by
 * the selector. A rough order that only has to be right about who comes first, not by how much. */
#ifndef AIPLAT_DOMAIN_MODEL_FAMILY_H
#define AIPLAT_DOMAIN_MODEL_FAMILY_H

#include <aiplat/str.h>

struct aip_model_rank {
        int quality; /* higher is stronger; 0: unknown */
        int speed;   /* higher is faster; 0: unknown */
};

struct aip_model_rank aip_model_rank(struct aip_str model_name);

#endif
