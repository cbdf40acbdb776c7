/* SPDX-License-Identifier: MIT */
#include "vpp_graph.h"

#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

#include "vpp_format.h"

#define GRAPH_TEXT 128

/* Compared as bytes. */
struct graph_key {
    char text[GRAPH_TEXT];
    int format, width, height, stream;
    int linesize[4]; /* yadif copies old frames when it changes */
};

struct vpp_graph {
    struct graph_key key;
    AVFilterGraph *graph;
    AVFilterContext *source, *sink;
    AVFrame *out;
    int64_t pts;
    uint64_t used;
};

bool vpp_graph_have(const char *filter)
{
    return avfilter_get_by_name(filter) != NULL;
}

static void graph_destroy(struct vpp_graph *graph)
{
    if (!graph)
        return;
    av_frame_free(&graph->out);
    avfilter_graph_free(&graph->graph);
    free(graph);
}

void vpp_graph_finish(struct vpp *vpp)
{
    for (int i = 0; i < VPP_GRAPHS; i++) {
        graph_destroy(vpp->graphs[i]);
        vpp->graphs[i] = NULL;
    }
}

/*
 * FFmpeg's yadif of more than 8 bits writes past the end of a row, where the next slice's first row
 * begins: its threads race for three samples there.
 */
static bool slices_race(const struct graph_key *key)
{
    return !strncmp(key->text, "yadif", 5) && vpp_format_bits(key->format) > 8;
}

static int graph_open(struct vpp_graph *graph, int threads)
{
    const struct graph_key *key = &graph->key;
    AVFilterInOut *begin = avfilter_inout_alloc(), *end = avfilter_inout_alloc();
    int err = VD_ERR_MEMORY;
    char args[128];

    graph->graph = avfilter_graph_alloc();
    graph->out = av_frame_alloc();
    if (!begin || !end || !graph->graph || !graph->out)
        goto out;
    graph->graph->nb_threads = slices_race(key) ? 1 : threads;
    graph->graph->thread_type = AVFILTER_THREAD_SLICE;
    /* No hidden conversions. */
    avfilter_graph_set_auto_convert(graph->graph, AVFILTER_AUTO_CONVERT_NONE);
    snprintf(args, sizeof(args), "video_size=%dx%d:pix_fmt=%d:time_base=1/25:pixel_aspect=1/1",
             key->width, key->height, key->format);
    err = VD_ERR_UNSUPPORTED;
    if (avfilter_graph_create_filter(&graph->source, avfilter_get_by_name("buffer"), "in", args,
                                     NULL, graph->graph) < 0 ||
        avfilter_graph_create_filter(&graph->sink, avfilter_get_by_name("buffersink"), "out", NULL,
                                     NULL, graph->graph) < 0)
        goto out;
    begin->name = av_strdup("in");
    begin->filter_ctx = graph->source;
    end->name = av_strdup("out");
    end->filter_ctx = graph->sink;
    if (!begin->name || !end->name ||
        avfilter_graph_parse_ptr(graph->graph, key->text, &end, &begin, NULL) < 0 ||
        avfilter_graph_config(graph->graph, NULL) < 0)
        goto out;
    err = 0;
out:
    avfilter_inout_free(&begin);
    avfilter_inout_free(&end);
    return err;
}

int vpp_graph_get(struct vpp *vpp, const char *text, const AVFrame *like, int stream,
                  struct vpp_graph **ret_graph, bool *ret_new)
{
    struct vpp_graph *graph;
    struct graph_key key;
    int oldest = 0, err;

    memset(&key, 0, sizeof(key));
    snprintf(key.text, sizeof(key.text), "%s", text);
    key.format = like->format;
    key.width = like->width;
    key.height = like->height;
    key.stream = stream;
    for (int i = 0; i < 4 && like->data[i]; i++)
        key.linesize[i] = like->linesize[i];
    for (int i = 0; i < VPP_GRAPHS; i++) {
        graph = vpp->graphs[i];
        if (!graph) {
            oldest = i;
            break;
        }
        if (!memcmp(&graph->key, &key, sizeof(key))) {
            graph->used = ++vpp->clock;
            *ret_graph = graph;
            *ret_new = false;
            return 0;
        }
        if (graph->used < vpp->graphs[oldest]->used)
            oldest = i;
    }
    graph = calloc(1, sizeof(*graph));
    if (!graph)
        return VD_ERR_MEMORY;
    graph->key = key;
    err = graph_open(graph, vpp->threads);
    if (err) {
        graph_destroy(graph);
        return err;
    }
    graph_destroy(vpp->graphs[oldest]);
    vpp->graphs[oldest] = graph;
    graph->used = ++vpp->clock;
    *ret_graph = graph;
    *ret_new = true;
    return 0;
}

int vpp_graph_push(struct vpp *vpp, struct vpp_graph *graph, const AVFrame *frame, bool interlaced,
                   bool top_first)
{
    AVFrame *push = vpp->wrap[VPP_WRAP_PUSH];

    push->format = frame->format;
    push->width = frame->width;
    push->height = frame->height;
    memcpy(push->data, frame->data, sizeof(push->data));
    memcpy(push->linesize, frame->linesize, sizeof(push->linesize));
    push->pts = graph->pts++;
#ifdef AV_FRAME_FLAG_INTERLACED
    push->flags = (interlaced ? AV_FRAME_FLAG_INTERLACED : 0) |
                  (top_first ? AV_FRAME_FLAG_TOP_FIELD_FIRST : 0);
#else
    push->interlaced_frame = interlaced;
    push->top_field_first = top_first;
#endif
    return av_buffersrc_write_frame(graph->source, push) < 0 ? VD_ERR_UNSUPPORTED : 0;
}

int vpp_graph_pull(struct vpp_graph *graph, AVFrame **ret_frame)
{
    av_frame_unref(graph->out);
    if (av_buffersink_get_frame(graph->sink, graph->out) < 0)
        return VD_ERR_INTERNAL;
    *ret_frame = graph->out;
    return 0;
}

int vpp_graph_run(struct vpp *vpp, const char *text, const AVFrame *from, int stream,
                  AVFrame **ret_frame)
{
    struct vpp_graph *graph;
    bool fresh;
    int err;

    err = vpp_graph_get(vpp, text, from, stream, &graph, &fresh);
    if (!err)
        err = vpp_graph_push(vpp, graph, from, false, true);
    if (!err)
        err = vpp_graph_pull(graph, ret_frame);
    return err;
}
