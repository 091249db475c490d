/* Which adapter a setting's URL asks for. For the files of this folder. */
#ifndef AIPLAT_RUNTIME_ADAPTERS_BY_URL_H
#define AIPLAT_RUNTIME_ADAPTERS_BY_URL_H

#include <aiplat/adapters.h>
#include <aiplat/settings.h>

/* What every adapter is given. */
struct runtime_base {
        struct aip_loop loop;
        const struct aip_log *log;
        struct aip_random random;
};

int runtime_make_store(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_store *ret_store, aip_error **err);
int runtime_make_queue(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_queue_handle *ret_queue, aip_error **err);
int runtime_make_cache(const struct aip_settings_values *settings, const struct runtime_base *base,
                       struct aip_cache_handle *ret_cache, aip_error **err);
int runtime_make_events(const struct aip_settings_values *settings, const struct runtime_base *base,
                        struct aip_events_handle *ret_events, aip_error **err);

#endif
