/* Linkage and attribute macros used by every public header. */
#ifndef AIPLAT_VISIBILITY_H
#define AIPLAT_VISIBILITY_H

#ifdef __cplusplus
#define AIP_BEGIN_DECLS extern "C" {
#define AIP_END_DECLS   }
#else
#define AIP_BEGIN_DECLS
#define AIP_END_DECLS
#endif

#if defined(__GNUC__)
#define AIP_API              __attribute__((visibility("default")))
#define AIP_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define AIP_MUST_CHECK       __attribute__((warn_unused_result))
#else
#define AIP_API
#define AIP_PRINTF(fmt, arg)
#define AIP_MUST_CHECK
#endif

/*
 * The dependency rule for public headers. Each layer of libaiplat is compiled with AIP_LAYER set to
 * its number; a header of a higher layer refuses to be read by a lower one. Programs outside the
 * library do not define AIP_LAYER and may include everything.
 *   1 base   2 domain   3 application   4 infrastructure   5 interface   6 runtime
 */

#endif
