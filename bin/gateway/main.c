/* aiplat-gateway: the HTTP interface of the platform. */
#include "../program/service.h"

int main(int argc, char **argv)
{
        static const struct service gateway = {
                "gateway",
                "Takes jobs over HTTP, stores them, hands them to workers and answers for them.",
                aip_runtime_start_gateway};

        return service_main(&gateway, argc, argv);
}
