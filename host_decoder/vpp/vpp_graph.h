/* SPDX-License-Identifier: MIT */
#ifndef HOST_VPP_GRAPH_H
#define HOST_VPP_GRAPH_H

#include "vpp_state.h"

/* A chain of FFmpeg's filters, kept with its state. */
struct vpp_graph;

/*
 * The graph of this text for frames like `like`: format, size and line sizes. `stream` tells apart
 * what has its own state. The state of one that is new is empty: ret_new. -VD_ERR_UNSUPPORTED: a
 * filter is missing, or does not take the format.
 */
int vpp_graph_get(struct vpp *vpp, const char *text, const AVFrame *like, int stream,
                  struct vpp_graph **ret_graph, bool *ret_new);
/*
 * Puts in the memory of a frame, which must stay for as long as the filter looks at it.
 * `interlaced` and `top_first` are what the filter gets told.
 */
int vpp_graph_push(struct vpp *vpp, struct vpp_graph *graph, const AVFrame *frame, bool interlaced,
                   bool top_first);
/* The next frame that is ready, until the next call; -VD_ERR_INTERNAL: none. */
int vpp_graph_pull(struct vpp_graph *graph, AVFrame **ret_frame);
/* One in, one out. */
int vpp_graph_run(struct vpp *vpp, const char *text, const AVFrame *from, int stream,
                  AVFrame **ret_frame);
bool vpp_graph_have(const char *filter);
void vpp_graph_finish(struct vpp *vpp);

#endif
