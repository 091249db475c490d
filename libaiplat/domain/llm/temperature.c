/* Temperature: how freely a model chooses its words. A value object: 0.0 to 2.0. */
#include <aiplat/llm_config.h>

#define TEMPERATURE_MAX 2.0

int aip_temperature_check(double temperature, aip_error **err)
{
        /* Written so that NaN, for which every comparison is false, is refused. */
        if (temperature >= 0.0 && temperature <= TEMPERATURE_MAX)
                return 0;
        return aip_error_set(err, AIP_EINVAL,
                             "temperature: %g is out of range; allowed are 0.0 to 2.0",
                             temperature);
}
