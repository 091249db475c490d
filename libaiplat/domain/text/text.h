/*
 * What the entities of the domain ask of text: is it UTF-8, is it blank, how to quote it in a
 * message, how to keep several strings in one allocation. Called by every folder of the domain.
 * Must not know any entity.
 */
#ifndef AIPLAT_DOMAIN_TEXT_H
#define AIPLAT_DOMAIN_TEXT_H

#include <aiplat/str.h>
#include <stdint.h>

/* One character of valid UTF-8 at *position (< text.n), which moves behind it. */
uint32_t aip_text_next(struct aip_str text, size_t *position);
/* Unicode's White_Space property. */
int aip_text_is_white_space(uint32_t character);
/* The C0 and C1 control characters and DEL. */
int aip_text_is_control(uint32_t character);
/* Nothing but white space, or nothing at all. `text` is valid UTF-8. */
int aip_text_is_blank(struct aip_str text);
/* Without the white space around it. `text` is valid UTF-8. */
struct aip_str aip_text_trim(struct aip_str text);

/* Valid UTF-8 without NUL, at most max_bytes; AIP_EINVAL otherwise, the message begins with `what`.
 * Also catches a view of NULL with a length. */
int aip_text_check(const char *what, struct aip_str text, size_t max_bytes, aip_error **err);

/* For messages: `text` in double quotes, at most some 80 bytes of it ("…" shows a cut), control
 * characters and malformed bytes as \xNN. Returns `ret_quoted`. */
#define AIP_TEXT_QUOTED_BYTES 352
char *aip_text_quote(struct aip_str text, char ret_quoted[AIP_TEXT_QUOTED_BYTES]);

/* Append `text` with malformed bytes and NUL replaced by U+FFFD, in all at most max_bytes (≥ 3);
 * "…" shows that it was cut. 0, AIP_ENOMEM or AIP_ELIMIT. */
AIP_MUST_CHECK int aip_text_append_clean(struct aip_buf *out, struct aip_str text,
                                         size_t max_bytes);

/*
 * Strings of one entity live behind its struct, in the same allocation, each followed by a NUL.
 * `bytes` says how much room a view needs (none for a view of NULL); `pack` copies it to `at`,
 * makes it point there, and returns where the next one goes.
 */
size_t aip_text_packed_bytes(struct aip_str text);
char *aip_text_pack(struct aip_str *text, char *at);

/* Option structs: copy min(self_size, to_bytes) of the caller's struct over our defaults. Both
 * begin with `size_t self_size`, which is set to what `to` has. */
void aip_fields_merge(void *to, size_t to_bytes, const void *from);

#endif
