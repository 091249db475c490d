/*
 * A loop that lives in the calling thread for as long as one thing lasts: tasks, timers and posts from other
 * threads, no descriptors. For graphs that are invoked without a loop of the caller's
 * (graph_invoke.c). Whatever was queued or armed on it must be gone before it is.
 */
#ifndef AIPLAT_APPLICATION_THREAD_LOOP_H
#define AIPLAT_APPLICATION_THREAD_LOOP_H

#include "task_list.h"
#include "timer_queue.h"
#include <pthread.h>

struct aip_thread_loop {
        struct aip_timer_queue timers;
        pthread_mutex_t lock;
        pthread_cond_t posted;
        struct task_list tasks; /* locked */
};

void aip_thread_loop_init(struct aip_thread_loop *loop);
struct aip_loop aip_thread_loop_port(struct aip_thread_loop *loop);
/* Until *is_done, which is looked at after each task and timer; sleeps while there is nothing to do. */
void aip_thread_loop_run(struct aip_thread_loop *loop, const int *is_done);
void aip_thread_loop_deinit(struct aip_thread_loop *loop);

#endif
