/* SPDX-License-Identifier: MIT */
#include "driver.h"

/*
 * What libva wants answered and no decoder has: display attributes, subpictures, palettes,
 * presentation. There are none; the calls say so with the status libva documents. (libva refuses
 * to load a driver that lacks these entries, and one with a maximum of zero formats.)
 */

static VAStatus display_QueryAttributes(VADriverContextP ctx, VADisplayAttribute *list, int *count)
{
    (void)ctx, (void)list;
    if (!count)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus display_Attributes(VADriverContextP ctx, VADisplayAttribute *list, int count)
{
    (void)ctx, (void)list, (void)count;
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

static VAStatus display_SetImagePalette(VADriverContextP ctx, VAImageID id, unsigned char *palette)
{
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);

    (void)palette;
    if (status)
        return status;
    /* No image format has a palette. */
    status = object_find(&driver->images, id) ? VA_STATUS_ERROR_OPERATION_FAILED
                                              : VA_STATUS_ERROR_INVALID_IMAGE;
    driver_leave(driver);
    return status;
}

static VAStatus display_QuerySubpictureFormats(VADriverContextP ctx, VAImageFormat *list,
                                               unsigned *flags, unsigned *count)
{
    (void)ctx, (void)list, (void)flags;
    if (!count)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus display_CreateSubpicture(VADriverContextP ctx, VAImageID image, VASubpictureID *id)
{
    struct driver *driver;
    VAStatus status = driver_enter(ctx, &driver);

    (void)id;
    if (status)
        return status;
    /* No subpicture format, so no image is of one. */
    status = object_find(&driver->images, image) ? VA_STATUS_ERROR_INVALID_IMAGE_FORMAT
                                                 : VA_STATUS_ERROR_INVALID_IMAGE;
    driver_leave(driver);
    return status;
}

static VAStatus display_DestroySubpicture(VADriverContextP ctx, VASubpictureID id)
{
    (void)ctx, (void)id;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_SetSubpictureImage(VADriverContextP ctx, VASubpictureID id, VAImageID image)
{
    (void)ctx, (void)id, (void)image;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_SetSubpictureChromakey(VADriverContextP ctx, VASubpictureID id,
                                               unsigned min, unsigned max, unsigned mask)
{
    (void)ctx, (void)id, (void)min, (void)max, (void)mask;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_SetSubpictureGlobalAlpha(VADriverContextP ctx, VASubpictureID id,
                                                 float alpha)
{
    (void)ctx, (void)id, (void)alpha;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_AssociateSubpicture(VADriverContextP ctx, VASubpictureID id,
                                            VASurfaceID *surfaces, int count, short src_x,
                                            short src_y, unsigned short src_w, unsigned short src_h,
                                            short dest_x, short dest_y, unsigned short dest_w,
                                            unsigned short dest_h, unsigned flags)
{
    (void)ctx, (void)id, (void)surfaces, (void)count, (void)src_x, (void)src_y, (void)src_w;
    (void)src_h, (void)dest_x, (void)dest_y, (void)dest_w, (void)dest_h, (void)flags;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_DeassociateSubpicture(VADriverContextP ctx, VASubpictureID id,
                                              VASurfaceID *surfaces, int count)
{
    (void)ctx, (void)id, (void)surfaces, (void)count;
    return VA_STATUS_ERROR_INVALID_SUBPICTURE;
}

static VAStatus display_PutSurface(VADriverContextP ctx, VASurfaceID surface, void *draw,
                                   short src_x, short src_y, unsigned short src_w,
                                   unsigned short src_h, short dest_x, short dest_y,
                                   unsigned short dest_w, unsigned short dest_h, VARectangle *clips,
                                   unsigned clip_count, unsigned flags)
{
    (void)ctx, (void)surface, (void)draw, (void)src_x, (void)src_y, (void)src_w, (void)src_h;
    (void)dest_x, (void)dest_y, (void)dest_w, (void)dest_h, (void)clips, (void)clip_count;
    (void)flags;
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

void display_fill(VADriverContextP ctx)
{
    struct VADriverVTable *v = ctx->vtable;

    ctx->max_image_formats = 0;
    while (format_at((size_t)ctx->max_image_formats))
        ctx->max_image_formats++;
    ctx->max_subpic_formats = 1;
    ctx->max_display_attributes = 0;
    v->vaQueryDisplayAttributes = display_QueryAttributes;
    v->vaGetDisplayAttributes = display_Attributes;
    v->vaSetDisplayAttributes = display_Attributes;
    v->vaSetImagePalette = display_SetImagePalette;
    v->vaQuerySubpictureFormats = display_QuerySubpictureFormats;
    v->vaCreateSubpicture = display_CreateSubpicture;
    v->vaDestroySubpicture = display_DestroySubpicture;
    v->vaSetSubpictureImage = display_SetSubpictureImage;
    v->vaSetSubpictureChromakey = display_SetSubpictureChromakey;
    v->vaSetSubpictureGlobalAlpha = display_SetSubpictureGlobalAlpha;
    v->vaAssociateSubpicture = display_AssociateSubpicture;
    v->vaDeassociateSubpicture = display_DeassociateSubpicture;
    v->vaPutSurface = display_PutSurface;
}
