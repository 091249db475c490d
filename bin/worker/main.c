/* aiplat-worker: takes jobs and runs them against language models. */
#include "../program/service.h"

int main(int argc, char **argv)
{
        static const struct service worker = {
                "worker",
                "Takes jobs from the queue and runs their graphs against language models.",
                aip_runtime_start_worker};

        return service_main(&worker, argc, argv);
}
