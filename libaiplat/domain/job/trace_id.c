/* Trace ids (W3C trace context): what ties the logs of all services to one request. */
#include "job/job_impl.h"

static int is_hexadecimal(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

int aip_trace_id_check(struct aip_str trace_id, aip_error **err)
{
        int r = aip_text_check("trace_id", trace_id, SIZE_MAX, err);
        if (r < 0)
                return r;
        int n_hexadecimal = 0, n_not_zero = 0;
        for (size_t i = 0; i < AIP_MIN(trace_id.n, (size_t)AIP_TRACE_ID_BYTES); i++) {
                n_hexadecimal += is_hexadecimal(trace_id.p[i]);
                n_not_zero += trace_id.p[i] != '0';
        }
        if (trace_id.n != AIP_TRACE_ID_BYTES - 1 || n_hexadecimal != AIP_TRACE_ID_BYTES - 1)
                return aip_error_set(err, AIP_EINVAL, "trace_id: must be 32 hexadecimal digits");
        if (n_not_zero == 0)
                return aip_error_set(err, AIP_EINVAL, "trace_id: must not be all zeros");
        return 0;
}
