/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const log_names[] = {"none", "error", "warn", "info", "debug"};

static atomic_int log_level = -1;
static const char *_Atomic log_name = "viaduct";

static int log_level_now(void)
{
    int level = atomic_load_explicit(&log_level, memory_order_relaxed);
    const char *text;

    if (level >= 0)
        return level;
    level = LOG_LEVEL_ERROR;
    text = getenv("VIADUCT_LOG");
    for (int i = LOG_LEVEL_NONE; text && i <= LOG_LEVEL_DEBUG; i++) {
        if (!strcmp(text, log_names[i]))
            level = i;
    }
    atomic_store_explicit(&log_level, level, memory_order_relaxed);
    return level;
}

int log_enabled(enum log_level level)
{
    return (int)level <= log_level_now();
}

void log_set_level(enum log_level level)
{
    atomic_store(&log_level, (int)level);
}

void log_set_name(const char *name)
{
    atomic_store(&log_name, name);
}

void log_print(enum log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    int used, more;

    if (!log_enabled(level))
        return;
    used = snprintf(line, sizeof(line), "%s: %s: ", atomic_load(&log_name), log_names[level]);
    va_start(args, format);
    more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
    va_end(args);
    if (more < 0)
        return;
    used += more;
    if ((size_t)used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    line[used++] = '\n';
    /* Nothing to be done about a log that cannot be written. */
    if (write(STDERR_FILENO, line, (size_t)used) < 0)
        return;
}
