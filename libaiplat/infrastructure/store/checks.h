/*
 * Checks of what a store is asked, the same for every store: arguments that break the rules of
 * ports/job_repository.h and thread_repository.h are refused with AIP_EINVAL before anything is sent anywhere. Called by
 * the stores' entry points. Touches nothing.
 */
#ifndef AIPLAT_STORE_CHECKS_H
#define AIPLAT_STORE_CHECKS_H

#include <aiplat/ports/thread_repository.h>

int aip_store_check_create(const struct aip_job_create *create, aip_error **err);
int aip_store_check_list(const struct aip_job_list *list, aip_error **err);
int aip_store_check_claim(const struct aip_job_claim *claim, aip_error **err);
int aip_store_check_finish(const struct aip_job_finish *finish, aip_error **err);
int aip_store_check_resumption(const struct aip_job_resumption *resumption, aip_error **err);
int aip_store_check_heartbeat(const struct aip_heartbeat *heartbeat, aip_error **err);
int aip_store_check_chores(const struct aip_chores *chores, aip_error **err);
int aip_store_check_threads(const struct aip_thread_list *list, aip_error **err);
int aip_store_check_thread_update(const struct aip_thread_update *update, aip_error **err);
int aip_store_check_retention(const struct aip_retention *retention, aip_error **err);

#endif
