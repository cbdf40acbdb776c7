/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_IPC_H
#define VIADUCT_CUDA_IPC_H

#include "internal.h"

/* ipc.c; with the lock: events that other processes see, too. */
struct ipc_event;

CUresult ipc_event_create(struct CUctx_st *c, struct ipc_event **ret_event);
/* NULL is fine. */
void ipc_event_destroy(struct ipc_event *e);
/* Behind what the stream has by now. */
CUresult ipc_event_record(struct ipc_event *e, struct CUstream_st *s);
/* The stream waits for the last record of any process. */
CUresult ipc_event_wait(struct ipc_event *e, struct CUstream_st *s);
bool ipc_event_done(const struct ipc_event *e);

/* Lets go of the descriptor of memory that was told to others. */
void ipc_drop(struct range *r);

#endif
