/* SPDX-License-Identifier: MIT */
#include "display_shim.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

/*
 * Enumeration by libudev, which GStreamer's `va` plugin uses (through libgudev): a search for the
 * subsystem "drm" that finds nothing finds our node. Its objects are opaque to everybody but
 * libudev, so ours are told by their address. Declared here so that libudev's header is not
 * needed to build.
 */
struct udev;
struct udev_device;
struct udev_enumerate;
struct udev_list_entry;

#define NEXT(name) ((__typeof__(&name))display_next(&next_##name, "libudev.so.1", #name))
#define SLOT(name) static display_function next_##name

static const struct node {
    const char *syspath, *subsystem, *sysname, *sysnum, *devtype, *devnode;
    const struct node *parent;
} nodes[2] = {
    {"/sys/devices/platform/viaduct/drm/" DISPLAY_NAME, "drm", DISPLAY_NAME, "128", "drm_minor",
     DISPLAY_NODE, &nodes[1]},
    {"/sys/devices/platform/viaduct", "platform", "viaduct", NULL, NULL, NULL, NULL},
};

static const char list_entry; /* its address is the list with the node in it */

static const struct node *ours(const struct udev_device *device)
{
    const void *p = device;

    return p == &nodes[0] || p == &nodes[1] ? p : NULL;
}

static struct udev_device *device_of(const struct node *node)
{
    return (struct udev_device *)(uintptr_t)node;
}

/* Searches that ask for drm. When there are too many, the later ones find what is really there. */
#define SEARCHES 16
static struct udev_enumerate *searches[SEARCHES];

static bool search_replace(struct udev_enumerate *from, struct udev_enumerate *to)
{
    for (int i = 0; i < SEARCHES; i++) {
        struct udev_enumerate *expected = from;

        if (__atomic_compare_exchange_n(&searches[i], &expected, to, 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

int udev_enumerate_add_match_subsystem(struct udev_enumerate *search, const char *subsystem);
struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *search);
struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *search);
struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry);
const char *udev_list_entry_get_name(struct udev_list_entry *entry);
const char *udev_list_entry_get_value(struct udev_list_entry *entry);
struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *path);
struct udev_device *udev_device_ref(struct udev_device *device);
struct udev_device *udev_device_unref(struct udev_device *device);
struct udev_device *udev_device_get_parent(struct udev_device *device);
struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device,
                                                                  const char *subsystem,
                                                                  const char *devtype);
dev_t udev_device_get_devnum(struct udev_device *device);
int udev_device_get_is_initialized(struct udev_device *device);
const char *udev_device_get_property_value(struct udev_device *device, const char *key);
const char *udev_device_get_sysattr_value(struct udev_device *device, const char *key);

SLOT(udev_enumerate_add_match_subsystem);
SLOT(udev_enumerate_unref);
SLOT(udev_enumerate_get_list_entry);
SLOT(udev_list_entry_get_next);
SLOT(udev_list_entry_get_name);
SLOT(udev_list_entry_get_value);
SLOT(udev_device_new_from_syspath);
SLOT(udev_device_ref);
SLOT(udev_device_unref);
SLOT(udev_device_get_parent);
SLOT(udev_device_get_parent_with_subsystem_devtype);
SLOT(udev_device_get_devnum);
SLOT(udev_device_get_is_initialized);
SLOT(udev_device_get_property_value);
SLOT(udev_device_get_sysattr_value);

DISPLAY_EXPORT int udev_enumerate_add_match_subsystem(struct udev_enumerate *search,
                                                      const char *subsystem)
{
    if (search && subsystem && !strcmp(subsystem, "drm") && display_active())
        search_replace(NULL, search);
    return NEXT(udev_enumerate_add_match_subsystem)
               ? NEXT(udev_enumerate_add_match_subsystem)(search, subsystem)
               : -ENOSYS;
}

DISPLAY_EXPORT struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *search)
{
    /* Also if this was not the last reference: nobody lists after it gave one away. */
    while (search && search_replace(search, NULL))
        ;
    return NEXT(udev_enumerate_unref) ? NEXT(udev_enumerate_unref)(search) : NULL;
}

DISPLAY_EXPORT struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *search)
{
    struct udev_list_entry *list =
        NEXT(udev_enumerate_get_list_entry) ? NEXT(udev_enumerate_get_list_entry)(search) : NULL;

    /* What is found in a container's /sys are the host's; their names lead to our node, too. */
    if (!list && search && search_replace(search, search))
        list = (struct udev_list_entry *)(uintptr_t)&list_entry;
    return list;
}

DISPLAY_EXPORT struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry)
{
    if ((const void *)entry == &list_entry)
        return NULL;
    return NEXT(udev_list_entry_get_next) ? NEXT(udev_list_entry_get_next)(entry) : NULL;
}

DISPLAY_EXPORT const char *udev_list_entry_get_name(struct udev_list_entry *entry)
{
    if ((const void *)entry == &list_entry)
        return nodes[0].syspath;
    return NEXT(udev_list_entry_get_name) ? NEXT(udev_list_entry_get_name)(entry) : NULL;
}

DISPLAY_EXPORT const char *udev_list_entry_get_value(struct udev_list_entry *entry)
{
    if ((const void *)entry == &list_entry)
        return NULL;
    return NEXT(udev_list_entry_get_value) ? NEXT(udev_list_entry_get_value)(entry) : NULL;
}

DISPLAY_EXPORT struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *path)
{
    if (path && !strcmp(path, nodes[0].syspath))
        return device_of(&nodes[0]);
    return NEXT(udev_device_new_from_syspath) ? NEXT(udev_device_new_from_syspath)(udev, path)
                                              : NULL;
}

DISPLAY_EXPORT struct udev_device *udev_device_ref(struct udev_device *device)
{
    if (ours(device))
        return device;
    return NEXT(udev_device_ref) ? NEXT(udev_device_ref)(device) : NULL;
}

DISPLAY_EXPORT struct udev_device *udev_device_unref(struct udev_device *device)
{
    if (ours(device))
        return NULL;
    return NEXT(udev_device_unref) ? NEXT(udev_device_unref)(device) : NULL;
}

DISPLAY_EXPORT struct udev_device *udev_device_get_parent(struct udev_device *device)
{
    if (ours(device))
        return device_of(ours(device)->parent);
    return NEXT(udev_device_get_parent) ? NEXT(udev_device_get_parent)(device) : NULL;
}

DISPLAY_EXPORT struct udev_device *
udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem,
                                              const char *devtype)
{
    const struct node *node = ours(device);

    if (node) {
        node = node->parent;
        if (node && subsystem && !strcmp(node->subsystem, subsystem) && !devtype)
            return device_of(node);
        errno = ENOENT;
        return NULL;
    }
    return NEXT(udev_device_get_parent_with_subsystem_devtype)
               ? NEXT(udev_device_get_parent_with_subsystem_devtype)(device, subsystem, devtype)
               : NULL;
}

/* Texts about a device; ours where the table has one, none otherwise. */
#define TEXT(name, answer)                                      \
    const char *name(struct udev_device *device);               \
    SLOT(name);                                                 \
    DISPLAY_EXPORT const char *name(struct udev_device *device) \
    {                                                           \
        const struct node *node = ours(device);                 \
                                                                \
        if (node)                                               \
            return answer;                                      \
        return NEXT(name) ? NEXT(name)(device) : NULL;          \
    }

TEXT(udev_device_get_syspath, node->syspath)
TEXT(udev_device_get_devpath, node->syspath + strlen("/sys"))
TEXT(udev_device_get_subsystem, node->subsystem)
TEXT(udev_device_get_sysname, node->sysname)
TEXT(udev_device_get_sysnum, node->sysnum)
TEXT(udev_device_get_devtype, node->devtype)
TEXT(udev_device_get_devnode, node->devnode)
TEXT(udev_device_get_driver, NULL)
TEXT(udev_device_get_action, NULL)

/* Empty lists. */
#define LIST(name)                                                          \
    struct udev_list_entry *name(struct udev_device *device);               \
    SLOT(name);                                                             \
    DISPLAY_EXPORT struct udev_list_entry *name(struct udev_device *device) \
    {                                                                       \
        return !ours(device) && NEXT(name) ? NEXT(name)(device) : NULL;     \
    }

LIST(udev_device_get_devlinks_list_entry)
LIST(udev_device_get_properties_list_entry)
LIST(udev_device_get_tags_list_entry)
/* Since udev 247, asked for by newer libgudevs. */
LIST(udev_device_get_current_tags_list_entry)
LIST(udev_device_get_sysattr_list_entry)

struct udev *udev_device_get_udev(struct udev_device *device);
SLOT(udev_device_get_udev);
DISPLAY_EXPORT struct udev *udev_device_get_udev(struct udev_device *device)
{
    return !ours(device) && NEXT(udev_device_get_udev) ? NEXT(udev_device_get_udev)(device) : NULL;
}

/* Numbers that say nothing about ours. */
#define NUMBER(name)                                                   \
    unsigned long long name(struct udev_device *device);               \
    SLOT(name);                                                        \
    DISPLAY_EXPORT unsigned long long name(struct udev_device *device) \
    {                                                                  \
        return !ours(device) && NEXT(name) ? NEXT(name)(device) : 0;   \
    }

NUMBER(udev_device_get_seqnum)
NUMBER(udev_device_get_usec_since_initialized)

/* Ours has no tags. */
#define TAGGED(name)                                                      \
    int name(struct udev_device *device, const char *tag);                \
    SLOT(name);                                                           \
    DISPLAY_EXPORT int name(struct udev_device *device, const char *tag)  \
    {                                                                     \
        return !ours(device) && NEXT(name) ? NEXT(name)(device, tag) : 0; \
    }

TAGGED(udev_device_has_tag)
TAGGED(udev_device_has_current_tag)

int udev_device_set_sysattr_value(struct udev_device *device, const char *key, const char *value);
SLOT(udev_device_set_sysattr_value);
DISPLAY_EXPORT int udev_device_set_sysattr_value(struct udev_device *device, const char *key,
                                                 const char *value)
{
    return !ours(device) && NEXT(udev_device_set_sysattr_value)
               ? NEXT(udev_device_set_sysattr_value)(device, key, value)
               : -ENOENT;
}

DISPLAY_EXPORT dev_t udev_device_get_devnum(struct udev_device *device)
{
    if (ours(device))
        return ours(device)->devnode ? makedev(DISPLAY_MAJOR, DISPLAY_MINOR) : 0;
    return NEXT(udev_device_get_devnum) ? NEXT(udev_device_get_devnum)(device) : 0;
}

DISPLAY_EXPORT int udev_device_get_is_initialized(struct udev_device *device)
{
    if (ours(device))
        return 1;
    return NEXT(udev_device_get_is_initialized) ? NEXT(udev_device_get_is_initialized)(device) : 0;
}

DISPLAY_EXPORT const char *udev_device_get_property_value(struct udev_device *device,
                                                          const char *key)
{
    const struct node *node = ours(device);

    if (!node)
        return NEXT(udev_device_get_property_value)
                   ? NEXT(udev_device_get_property_value)(device, key)
                   : NULL;
    if (key && !strcmp(key, "SUBSYSTEM"))
        return node->subsystem;
    return key && !strcmp(key, "DEVNAME") ? node->devnode : NULL;
}

DISPLAY_EXPORT const char *udev_device_get_sysattr_value(struct udev_device *device,
                                                         const char *key)
{
    if (ours(device))
        return NULL;
    return NEXT(udev_device_get_sysattr_value) ? NEXT(udev_device_get_sysattr_value)(device, key)
                                               : NULL;
}
