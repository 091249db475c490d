/* The controllers that routes.c names. Each takes a request and answers it exactly once. */
#ifndef AIPLAT_INTERFACE_HTTP_CONTROLLERS_H
#define AIPLAT_INTERFACE_HTTP_CONTROLLERS_H

#include "request.h"

/* job_controller.c */
void http_submit_job(struct http_request *request);
void http_list_jobs(struct http_request *request);
void http_get_job(struct http_request *request);
void http_cancel_job(struct http_request *request);
void http_resume_job(struct http_request *request);
void http_list_threads(struct http_request *request);
void http_get_thread(struct http_request *request);
void http_thread_history(struct http_request *request);
void http_get_thread_state(struct http_request *request);
void http_put_thread_state(struct http_request *request);

/* event_controller.c */
void http_job_events(struct http_request *request);

/* catalog_controller.c */
void http_list_configs(struct http_request *request);
void http_create_config(struct http_request *request);
void http_get_config(struct http_request *request);
void http_put_config(struct http_request *request);
void http_delete_config(struct http_request *request);

void http_list_templates(struct http_request *request);
void http_create_template(struct http_request *request);
void http_get_template(struct http_request *request);
void http_put_template(struct http_request *request);
void http_delete_template(struct http_request *request);

void http_list_graphs(struct http_request *request);
void http_create_graph(struct http_request *request);
void http_get_graph(struct http_request *request);
void http_put_graph(struct http_request *request);
void http_delete_graph(struct http_request *request);

/* health_controller.c */
void http_health(struct http_request *request);
void http_ready(struct http_request *request);
void http_openapi(struct http_request *request);

/* metrics_controller.c */
void http_metrics(struct http_request *request);

#endif
