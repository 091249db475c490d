/* ModelName: what a provider calls a model. A value object: any name, as providers choose them
 * freely ("gpt-4-turbo", "meta-llama/Llama-3-8b", "llama3:70b-instruct-q4_K_M"). */
#include <aiplat/job.h>
#include <aiplat/llm_config.h>

int aip_model_name_check(struct aip_str model_name, aip_error **err)
{
        return aip_name_check("model_name", model_name, err);
}
