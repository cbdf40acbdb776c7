/* SPDX-License-Identifier: MIT */
#include "doctor.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <viaduct/errors.h>

#include "cli.h"
#include "doctor_cuda.h"
#include "doctor_picture.h"
#include "service_find.h"
#include "text.h"

static const char usage_text[] =
    "usage: viaduct doctor [PROGRAM]\n"
    "Walks the way from a program to a decoded picture and says where it is blocked, and what to\n"
    "do about it. The exit code is 0 if a program started here would decode, else 1.\n"
    "\n"
    "With the file of a program for CUDA it says, too, which runtime that is linked with.\n"
    "\n"
    "To see what `viaduct exec` makes of this machine: viaduct exec -- viaduct doctor\n"
    "\n"
    "  --help\n";

#define DOCTOR_PROFILES 128

void doctor_say(struct doctor *doctor, enum doctor_verdict verdict, const char *advice,
                const char *format, ...)
{
    static const char *const words[] = {"ok", "warn", "FAIL"};
    char what[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    /* Names of other programs' making are in there. */
    text_printable(what, sizeof(what));
    printf("%-4s %s%s%s\n", words[verdict], what, advice ? " - " : "", advice ? advice : "");
    if (verdict == DOCTOR_FAIL)
        doctor->failed = true;
}

static const char *advice_for(int err)
{
    switch (err) {
    case VD_ERR_GONE:
        return "start viaductd there, pass its socket into the container, or run programs with "
               "`viaduct exec`, which starts a private one";
    case VD_ERR_DENIED:
        return "start viaductd with --allow-uid or --allow-gid for this user, or let it in in the "
               "host's /etc/viaductd.conf, and see that the socket's mode does";
    case VD_ERR_VERSION:
        return "install the same version of Viaduct on both sides";
    case VD_ERR_PROTOCOL:
        return "something else listens there, or another version of Viaduct: correct the place "
               "or update the older side";
    case VD_ERR_BUSY:
        return "end other programs or let viaductd have more clients (max-clients, of all or of "
               "this one's [client] in viaductd.conf)";
    case VD_ERR_PARAMETER:
        return "write it as unix:/path/to/viaduct.sock";
    case VD_ERR_TIMEOUT:
        return "restart viaductd: it accepts but does not answer";
    case VD_ERR_MEMORY:
        return "see the limit on address space (ulimit -v)";
    default:
        return "see what viaductd says in its log";
    }
}

static void note_host(struct doctor *doctor, const struct host *host)
{
    char way[192];
    bool had = service_find_way(host, way, sizeof(way));

    doctor->served = true;
    doctor->null_backend = !strcmp(host->backend, "null");
    doctor->frame_bytes = host->max_bytes;
    doctor->arena_bytes = host->arena.size;
    doctor_say(doctor, DOCTOR_OK, NULL, "protocol %u.%u, %u profiles", VD_MAJOR, VD_MINOR,
               host->cap_count);
    doctor_say(doctor, had ? DOCTOR_OK : DOCTOR_WARN,
               had ? NULL
                   : "the host has offered a region of this machine's memory: see what "
                     "viaduct-region says here (VIADUCT_LOG=warn)",
               "frames are %s", way);
    if (doctor->null_backend)
        doctor_say(doctor, DOCTOR_WARN, "start viaductd without --backend null",
                   "back end null decodes nothing: it is there for tests");
    else
        doctor_say(doctor, DOCTOR_OK, NULL, "back end %s", host->backend);
}

static void check_service(struct doctor *doctor)
{
    const struct service_place *place;
    struct service_places places;
    struct host *host;
    int err;

    service_find_places(&places);
    err = service_find_open(&places, true, &host, &place);
    for (int i = 0; i < places.count; i++) {
        place = &places.place[i];
        if (!place->err) {
            doctor_say(doctor, DOCTOR_OK, NULL, "host service %s (%s)", place->uri, place->source);
        } else if (place->err != SERVICE_NOT_TRIED) {
            /* With another place to go to, an empty one is no matter. */
            doctor_say(doctor, err ? DOCTOR_FAIL : DOCTOR_OK, err ? advice_for(place->err) : NULL,
                       "no host service at %s (%s): %s", place->uri, place->source,
                       errors_text(place->err));
        }
    }
    if (err)
        return;
    note_host(doctor, host);
    host_unref(&host);
}

/* What libva says last is why it failed. */
static void keep_message(void *context, const char *message)
{
    char *kept = context;

    snprintf(kept, 256, "%s", message);
    kept[strcspn(kept, "\n")] = 0;
}

static void check_picture(struct doctor *doctor, const struct va *va, VADisplay display)
{
    const char *call;
    int right = 0;
    VAStatus status = doctor_picture_decode(va, display, &right, &call);

    if (status)
        doctor_say(doctor, DOCTOR_FAIL, "set VIADUCT_LOG=debug and look at viaductd's log",
                   "a test picture is not decoded: %s: %s", call, va->vaErrorStr(status));
    else if (doctor->null_backend)
        doctor_say(doctor, DOCTOR_OK, NULL, "a test picture went to the host and back, undecoded");
    else if (!right)
        doctor_say(doctor, DOCTOR_FAIL,
                   "report this with the output of `viaduct info`: the host decodes wrongly",
                   "a test picture is decoded, but its pixels are not what they should be");
    else
        doctor_say(doctor, DOCTOR_OK, NULL, "a test picture is decoded, bit for bit");
}

/* Whether the driver libva took is the file found before. */
static void check_which_driver(struct doctor *doctor, const struct va *va, VADisplay display)
{
    const char *vendor = va->vaQueryVendorString(display);
    void *module = *doctor->driver ? dlopen(doctor->driver, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    VAProfile profiles[DOCTOR_PROFILES];
    int count = 0;

    if (!module) {
        doctor_say(doctor, DOCTOR_FAIL, "set LIBVA_DRIVER_NAME=viaduct",
                   "libva took another driver: %s", vendor ? vendor : "unknown");
        return;
    }
    dlclose(module);
    if (va->vaMaxNumProfiles(display) <= DOCTOR_PROFILES)
        va->vaQueryConfigProfiles(display, profiles, &count);
    doctor_say(doctor, count ? DOCTOR_OK : DOCTOR_FAIL,
               count ? NULL : "the host back end serves nothing; see `viaduct info`",
               "libva took the driver: %s, %d profiles", vendor ? vendor : "no vendor", count);
    if (count)
        check_picture(doctor, va, display);
}

static void check_libva(struct doctor *doctor)
{
    char path[64], why[256] = "";
    VADisplay display;
    VAStatus status;
    struct va va;
    int fd, major, minor;

    if (va_load(&va, why, sizeof(why))) {
        doctor_say(doctor, DOCTOR_FAIL, "install libva2 and libva-drm2 (version 2.0 or later)",
                   "libva: %s", why);
        return;
    }
    fd = va_open_node(path, sizeof(path));
    if (fd < 0) {
        doctor_say(doctor, DOCTOR_WARN, "give it a render node as said above",
                   "libva cannot be tried without a render node");
        return;
    }
    display = va.vaGetDisplayDRM(fd);
    if (!display) {
        doctor_say(doctor, DOCTOR_FAIL, "use a render node of a GPU driver",
                   "libva does not take %s for a render node", path);
        goto out;
    }
    va_silence(&va, display);
    va.vaSetErrorCallback(display, keep_message, why);
    status = va.vaInitialize(display, &major, &minor);
    if (status) {
        doctor_say(doctor, DOCTOR_FAIL,
                   doctor->served ? "set LIBVA_DRIVER_NAME=viaduct and see the lines above"
                                  : "a host service is needed first, see above",
                   "vaInitialize on %s: %s%s%s", path, va.vaErrorStr(status), *why ? ": " : "",
                   why);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "libva works on %s, VA-API %d.%d", path, major, minor);
        check_which_driver(doctor, &va, display);
    }
    va.vaTerminate(display);
out:
    close(fd);
}

int doctor_run(int argc, char **argv)
{
    const char *program = argc == 2 && argv[1][0] != '-' ? argv[1] : NULL;
    int code = text_only_help(program ? 1 : argc, argv, usage_text);
    struct doctor doctor = {0};

    if (code >= 0)
        return code;
    /* The driver would say the same again. */
    setenv("VIADUCT_LOG", "none", 0);
    check_service(&doctor);
    doctor_system_environment(&doctor);
    doctor_system_driver(&doctor);
    doctor_system_node(&doctor);
    check_libva(&doctor);
    doctor_system_memory(&doctor);
    if (program)
        doctor_cuda_program(&doctor, program);
    return doctor.failed ? CLI_FAIL : CLI_OK;
}
