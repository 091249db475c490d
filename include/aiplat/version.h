/* The library's version. The numbers are those of the headers; aip_version() is the library's own. */
#ifndef AIPLAT_VERSION_H
#define AIPLAT_VERSION_H

#include <aiplat/visibility.h>

AIP_BEGIN_DECLS

#define AIPLAT_VERSION_MAJOR 0
#define AIPLAT_VERSION_MINOR 1
#define AIPLAT_VERSION_PATCH 0
#define AIPLAT_VERSION       "0.1.0"

/* "0.1.0"; static. */
AIP_API const char *aip_version(void);

AIP_END_DECLS

#endif
