/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_QUEUE_H
#define VIADUCT_CUDA_QUEUE_H

#include <compute/cuda/device.h>

/*
 * Queues of commands and the threads that run them, for a backend in one process. A queue that
 * waits for another holds no thread.
 */

struct queue_pool;

/* Runs one command, on a thread of the pool. A CUresult other than 0 poisons the context. Waits and
 * calls of the program never come here. CUDA_WAIT_VALUE asks whether it holds: -1 is not yet. */
typedef int (*queue_run)(struct cuda_context *context, const struct cuda_command *command);

int queue_pool_create(queue_run run, struct queue_pool **ret_pool);

/* Poisons a context; its queues do not wait for others any more. */
void queue_abort(struct queue_pool *pool, struct cuda_context *context, int error);

/* The operations of struct cuda_backend. */
int queue_create(struct queue_pool *pool, struct cuda_context *context, int priority,
                 struct cuda_queue **ret_queue);
void queue_hold(struct cuda_queue *queue);
void queue_release(struct cuda_queue *queue);
uint64_t queue_submit(struct cuda_queue *queue, const struct cuda_command *command);
bool queue_done(struct cuda_queue *queue, uint64_t number);
void queue_wait(struct cuda_queue *queue, uint64_t number);
void queue_watch(struct cuda_queue *queue, void (*passed)(void *arg, uint64_t number), void *arg);

int stamp_create(struct cuda_stamp **ret_stamp);
void stamp_release(struct cuda_stamp *stamp);
uint64_t stamp_time(struct cuda_stamp *stamp);

#endif
