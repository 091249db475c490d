/* The version of the library that is linked, as against that of the headers. */
#include <aiplat/version.h>

const char *aip_version(void)
{
        return AIPLAT_VERSION;
}
