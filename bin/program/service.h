/*
 * A long-running program around one runtime: the gateway and the worker are this with one different
 * word each. Parses the arguments, loads the settings, starts the part, runs until told to stop.
 */
#ifndef AIPLAT_PROGRAM_SERVICE_H
#define AIPLAT_PROGRAM_SERVICE_H

#include <aiplat/runtime.h>

#include "program.h"

struct service {
        const char *component;   /* how it calls itself in its logs */
        const char *description; /* for --help */
        int (*start)(aip_runtime *runtime, aip_error **err);
};

/* Returns the exit code. */
int service_main(const struct service *service, int argc, char **argv);

#endif
