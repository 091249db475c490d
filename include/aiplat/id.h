/* Identifiers: UUIDs, version 7 (RFC 9562) when made by aiplat, so that they sort by time. */
#ifndef AIPLAT_ID_H
#define AIPLAT_ID_H

#include <aiplat/ports/random.h>
#include <aiplat/str.h>

AIP_BEGIN_DECLS

struct aip_id {
        uint8_t bytes[16];
};

#define AIP_ID_TEXT_BYTES 37 /* 36 characters and NUL */

/* Makes increasing ids: within one millisecond a 12-bit counter, seeded at random, is counted up
 * (RFC 9562, 6.2 method 1); when it is used up, or the clock steps back, the last time is kept and
 * moved on. Loop thread only. */
struct aip_id_source {
        struct aip_random random;
        int64_t last_ms;
        uint32_t counter;
};

AIP_API void aip_id_source_init(struct aip_id_source *source, struct aip_random random);
/* `now_us`: wall clock, microseconds since 1970. */
AIP_API struct aip_id aip_id_next(struct aip_id_source *source, int64_t now_us);

/* The UUID version 5 (SHA-1) of a name in a space: the same for the same input, always. */
AIP_API struct aip_id aip_id_from_name(const struct aip_id *space, struct aip_str name);

/* Any UUID in the canonical 8-4-4-4-12 form, either case. AIP_EINVAL otherwise. */
AIP_API int aip_id_parse(struct aip_str text, struct aip_id *ret_id, aip_error **err);
/* Lower case. Returns `ret_text`. */
AIP_API char *aip_id_format(const struct aip_id *id, char ret_text[AIP_ID_TEXT_BYTES]);
/* Wall-clock time in a version 7 id, microseconds; 0 for other versions. */
AIP_API int64_t aip_id_time_us(const struct aip_id *id);
AIP_API int aip_id_is_nil(const struct aip_id *id);
AIP_API int aip_id_compare(const struct aip_id *a, const struct aip_id *b);
AIP_API int aip_id_equal(const struct aip_id *a, const struct aip_id *b);
AIP_API uint64_t aip_id_hash(const struct aip_id *id);

AIP_END_DECLS

#endif
