/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "internal.h"

/* The session of a display of Viaduct's driver (va_driver/share.h). */

/* The driver that libva loaded for it, and what it shares. */
static int find_share(void *display, VADriverContextP *ret_ctx, const struct share_ops **ret_share)
{
    VADisplayContextP context = display;
    const struct share_ops *share;
    share_function function;
    VADriverContextP ctx;

    if (!context || context->vadpy_magic != VA_DISPLAY_MAGIC || !context->pDriverContext ||
        !context->pDriverContext->handle)
        return client_fail(VD_ERR_PARAMETER, "this is no VADisplay that vaInitialize opened");
    ctx = context->pDriverContext;
    *(void **)&function = dlsym(ctx->handle, SHARE_SYMBOL);
    if (!function)
        return client_fail(VD_ERR_UNSUPPORTED, "the display's driver is not Viaduct's: %s",
                           ctx->str_vendor ? ctx->str_vendor : "it has no name");
    share = function();
    if (share->version != SHARE_VERSION || share->host_size != sizeof(struct host))
        return client_fail(VD_ERR_UNSUPPORTED,
                           "the display's driver is of another release than libviaduct-npu; "
                           "install both from one");
    *ret_ctx = ctx;
    *ret_share = share;
    return 0;
}

/* Until then its code is needed, which libva lets go of with the display. */
static int keep_code(struct npu *npu)
{
    Dl_info info;

    if (!dladdr(npu->share, &info) || !info.dli_fname)
        return VD_ERR_INTERNAL;
    npu->driver_handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    return npu->driver_handle ? 0 : VD_ERR_INTERNAL;
}

int npu_open_display(void *va_display, struct npu **ret_npu)
{
    const struct share_ops *share = NULL;
    VADriverContextP ctx = NULL;
    struct npu *npu;
    int err = find_share(va_display, &ctx, &share);

    if (err)
        return err;
    npu = calloc(1, sizeof(*npu));
    if (!npu)
        return client_fail(VD_ERR_MEMORY, "out of memory");
    npu->share = share;
    npu->refs = 1;
    npu->pid = getpid();
    err = keep_code(npu);
    if (err)
        client_fail(err, "the display's driver cannot be kept: %s", dlerror());
    else if ((err = share->join(ctx, &npu->driver, &npu->host, &npu->lock)))
        client_fail(err, "the display has no host: %s", errors_text(err));
    if (err) {
        if (npu->driver_handle)
            dlclose(npu->driver_handle);
        free(npu);
        return err;
    }
    *ret_npu = npu;
    return 0;
}

void client_display_leave(struct npu *npu)
{
    /* In a child everything is the parent's, and stays until the child ends. */
    if (npu->pid != getpid())
        return;
    pthread_mutex_lock(npu->lock);
    host_unref(&npu->host);
    pthread_mutex_unlock(npu->lock);
    npu->share->leave(npu->driver);
    dlclose(npu->driver_handle);
}
