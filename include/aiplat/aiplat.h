/* Everything a program that links libaiplat usually needs. */
#ifndef AIPLAT_AIPLAT_H
#define AIPLAT_AIPLAT_H

#include <aiplat/catalog.h>
#include <aiplat/error.h>
#include <aiplat/expression.h>
#include <aiplat/graph.h>
#include <aiplat/graph_document.h>
#include <aiplat/graph_registry.h>
#include <aiplat/graph_run.h>
#include <aiplat/job.h>
#include <aiplat/job_feed.h>
#include <aiplat/job_service.h>
#include <aiplat/json_schema.h>
#include <aiplat/llm_config.h>
#include <aiplat/log.h>
#include <aiplat/prompt_template.h>
#include <aiplat/runtime.h>
#include <aiplat/settings.h>
#include <aiplat/thread_service.h>
#include <aiplat/value.h>
#include <aiplat/version.h>

#endif
