/* SPDX-License-Identifier: MIT */
#ifndef SOAK_PLAYER_H
#define SOAK_PLAYER_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>

/* One stream that is played through VA-API. */
struct player {
    AVFormatContext *format;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    int index;     /* of the video stream */
    bool refused;  /* the decoder fell back to software: not a stream for this test */
    bool draining; /* the file is at its end */
};

enum player_state {
    PLAYER_FRAME,   /* `frame` holds one, in a surface */
    PLAYER_END,     /* nothing is left */
    PLAYER_ERROR,   /* a packet was not decoded; go on */
    PLAYER_REFUSED, /* no hardware decoding of this stream */
};

/* Opens PATH on a device that others use, too; 0 or a negative AVERROR. */
int player_open(struct player *player, const char *path, AVBufferRef *device, int threads);
enum player_state player_next(struct player *player);
/* To `part` of 0 to 1; a file without a duration starts over. */
void player_seek(struct player *player, double part);
void player_close(struct player *player);

#endif
