/* SPDX-License-Identifier: MIT */
#include "decoder.h"

#include <stdlib.h>
#include <string.h>
#include <viaduct/errors.h>

int decoder_create(const struct backend *backend, const struct backend_context_info *info,
                   uint64_t number, struct decoder **ret_decoder,
                   struct backend_context_traits *ret_traits)
{
    struct decoder *decoder = calloc(1, sizeof(*decoder));
    int err = VD_ERR_MEMORY;

    if (!decoder)
        return VD_ERR_MEMORY;
    decoder->backend = backend;
    decoder->codec = info->codec;
    decoder->number = number;
    if (backend->builder) {
        decoder->builder = backend->builder(info->codec);
        if (decoder->builder)
            decoder->builder_state = calloc(1, decoder->builder->state_size);
        if (!decoder->builder_state)
            goto fail;
    }
    if (backend->encode_codec) {
        decoder->encode = backend->encode_codec(info->codec);
        if (decoder->encode)
            decoder->read_state = calloc(1, decoder->encode->read_state_size);
        if (!decoder->read_state)
            goto fail;
    }
    err = backend->context_create(info, &decoder->context, ret_traits);
    if (err)
        goto fail;
    *ret_decoder = decoder;
    return 0;
fail:
    free(decoder->builder_state);
    free(decoder->read_state);
    free(decoder);
    return err;
}

void decoder_destroy(struct decoder *decoder)
{
    if (!decoder)
        return;
    decoder->backend->context_destroy(decoder->context);
    free(decoder->builder_state);
    free(decoder->read_state);
    free(decoder);
}

bool decoder_survives(const struct decoder *decoder)
{
    return decoder->builder && decoder->builder->survives && decoder->backend->context_adopt;
}

static struct decoder *take_at(struct decoder_park *park, uint32_t i)
{
    struct decoder *decoder = park->at[i];

    park->count--;
    memmove(&park->at[i], &park->at[i + 1], (park->count - i) * sizeof(park->at[0]));
    return decoder;
}

void decoder_park_put(struct decoder_park *park, struct decoder *decoder)
{
    if (!decoder)
        return;
    if (park->count == DECODER_PARK_MAX)
        decoder_destroy(take_at(park, 0));
    park->at[park->count++] = decoder;
}

uint32_t decoder_park_find(const struct decoder_park *park, uint64_t number)
{
    for (uint32_t i = 0; i < park->count; i++) {
        if (park->at[i]->number == number)
            return i + 1;
    }
    return 0;
}

struct decoder *decoder_park_take(struct decoder_park *park, uint32_t place,
                                  const struct backend *backend, enum vd_codec codec)
{
    const struct decoder *decoder = place && place <= park->count ? park->at[place - 1] : NULL;

    if (!decoder || decoder->backend != backend || decoder->codec != codec)
        return NULL;
    return take_at(park, place - 1);
}

void decoder_park_sweep(struct decoder_park *park, bool (*needed)(void *arg, uint64_t number),
                        void *arg)
{
    for (uint32_t i = park->count; i-- > 0;) {
        if (!needed(arg, park->at[i]->number))
            decoder_destroy(take_at(park, i));
    }
}

void decoder_park_finish(struct decoder_park *park)
{
    while (park->count)
        decoder_destroy(take_at(park, 0));
}
