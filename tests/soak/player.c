/* SPDX-License-Identifier: MIT */
#include "player.h"

#include <libavutil/hwcontext.h>

static enum AVPixelFormat choose(AVCodecContext *codec, const enum AVPixelFormat *formats)
{
    struct player *player = codec->opaque;

    for (; *formats != AV_PIX_FMT_NONE; formats++) {
        if (*formats == AV_PIX_FMT_VAAPI)
            return AV_PIX_FMT_VAAPI;
    }
    player->refused = true;
    return AV_PIX_FMT_NONE;
}

int player_open(struct player *player, const char *path, AVBufferRef *device, int threads)
{
    const AVCodec *decoder = NULL;
    AVCodecParameters *par;
    int err;

    *player = (struct player){0};
    err = avformat_open_input(&player->format, path, NULL, NULL);
    if (err)
        return err;
    err = avformat_find_stream_info(player->format, NULL);
    if (err < 0)
        goto fail;
    err = av_find_best_stream(player->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (err < 0)
        goto fail;
    player->index = err;
    err = AVERROR(ENOMEM);
    par = player->format->streams[player->index]->codecpar;
    /* The preferred decoder of AV1 has no hardware acceleration. */
    if (par->codec_id == AV_CODEC_ID_AV1)
        decoder = avcodec_find_decoder_by_name("av1");
    player->packet = av_packet_alloc();
    player->frame = av_frame_alloc();
    player->codec = avcodec_alloc_context3(decoder);
    if (!player->packet || !player->frame || !player->codec)
        goto fail;
    err = avcodec_parameters_to_context(player->codec, par);
    if (err < 0)
        goto fail;
    err = AVERROR(ENOMEM);
    player->codec->pkt_timebase = player->format->streams[player->index]->time_base;
    player->codec->opaque = player;
    player->codec->get_format = choose;
    player->codec->thread_count = threads;
    /* Frames are kept while the decoder goes on. */
    player->codec->extra_hw_frames = 8;
    player->codec->hwaccel_flags = AV_HWACCEL_FLAG_ALLOW_PROFILE_MISMATCH;
    player->codec->hw_device_ctx = av_buffer_ref(device);
    if (!player->codec->hw_device_ctx)
        goto fail;
    err = avcodec_open2(player->codec, decoder, NULL);
    if (err < 0)
        goto fail;
    return 0;

fail:
    player_close(player);
    return err;
}

/* Gives the decoder the next packet of the stream; false when there is none. */
static bool feed(struct player *player)
{
    int err;

    while (!player->draining) {
        err = av_read_frame(player->format, player->packet);
        if (err < 0) {
            player->draining = true;
            avcodec_send_packet(player->codec, NULL);
            return true;
        }
        if (player->packet->stream_index == player->index) {
            avcodec_send_packet(player->codec, player->packet);
            av_packet_unref(player->packet);
            return true;
        }
        av_packet_unref(player->packet);
    }
    return false;
}

enum player_state player_next(struct player *player)
{
    for (;;) {
        int err;

        av_frame_unref(player->frame);
        err = avcodec_receive_frame(player->codec, player->frame);
        if (player->refused)
            return PLAYER_REFUSED;
        if (!err)
            return player->frame->format == AV_PIX_FMT_VAAPI ? PLAYER_FRAME : PLAYER_REFUSED;
        if (err == AVERROR_EOF || (err == AVERROR(EAGAIN) && !feed(player)))
            return PLAYER_END;
        if (err != AVERROR(EAGAIN))
            return PLAYER_ERROR;
    }
}

void player_seek(struct player *player, double part)
{
    AVFormatContext *format = player->format;
    int64_t start = format->start_time == AV_NOPTS_VALUE ? 0 : format->start_time;
    int64_t to = start;

    if (format->duration > 0)
        to += (int64_t)((double)format->duration * part);
    if (av_seek_frame(format, -1, to, AVSEEK_FLAG_BACKWARD) < 0)
        av_seek_frame(format, -1, 0, AVSEEK_FLAG_BYTE);
    avcodec_flush_buffers(player->codec);
    player->draining = false;
}

void player_close(struct player *player)
{
    avcodec_free_context(&player->codec);
    avformat_close_input(&player->format);
    av_packet_free(&player->packet);
    av_frame_free(&player->frame);
}
