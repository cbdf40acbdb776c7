/* SPDX-License-Identifier: MIT */
#ifndef CLI_VA_H
#define CLI_VA_H

#include <stddef.h>
#include <va/va.h>
#include <va/va_drm.h>

/*
 * libva as a program meets it, loaded at run time: `viaduct` must be able to say that it is
 * missing.
 */
#define VA_FUNCTIONS(FUNCTION)      \
    FUNCTION(vaGetDisplayDRM)       \
    FUNCTION(vaInitialize)          \
    FUNCTION(vaTerminate)           \
    FUNCTION(vaSetInfoCallback)     \
    FUNCTION(vaSetErrorCallback)    \
    FUNCTION(vaErrorStr)            \
    FUNCTION(vaQueryVendorString)   \
    FUNCTION(vaMaxNumProfiles)      \
    FUNCTION(vaQueryConfigProfiles) \
    FUNCTION(vaCreateConfig)        \
    FUNCTION(vaDestroyConfig)       \
    FUNCTION(vaCreateSurfaces)      \
    FUNCTION(vaDestroySurfaces)     \
    FUNCTION(vaCreateContext)       \
    FUNCTION(vaDestroyContext)      \
    FUNCTION(vaCreateBuffer)        \
    FUNCTION(vaDestroyBuffer)       \
    FUNCTION(vaBeginPicture)        \
    FUNCTION(vaRenderPicture)       \
    FUNCTION(vaEndPicture)          \
    FUNCTION(vaSyncSurface)         \
    FUNCTION(vaDeriveImage)         \
    FUNCTION(vaDestroyImage)        \
    FUNCTION(vaMapBuffer)           \
    FUNCTION(vaUnmapBuffer)

struct va {
#define VA_MEMBER(name) __typeof__(name) *name;
    VA_FUNCTIONS(VA_MEMBER)
#undef VA_MEMBER
};

/* Loads libva and libva-drm. On failure -VD_ERR_UNSUPPORTED and a text that says what is missing.
 */
int va_load(struct va *ret_va, char *why, size_t room);
/*
 * Opens the first render node there is, ours or a real one. Its descriptor, or -1 and errno;
 * `path` names the node in both cases, or is empty if there is none.
 */
int va_open_node(char *path, size_t room);
/* Libva tells a lot; this display keeps silent. */
void va_silence(const struct va *va, VADisplay display);

#endif
