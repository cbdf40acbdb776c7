/* SPDX-License-Identifier: MIT */
#ifndef WIRE_LOG_H
#define WIRE_LOG_H

/*
 * The log: one line a message on standard error, "viaduct: level: text".
 *
 * VIADUCT_LOG = none, error (default), warn, info or debug; read once, at the first message.
 * Any thread. A line leaves with one write, so lines of several threads do not mix.
 */
enum log_level {
    LOG_LEVEL_NONE,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

void log_print(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Not zero if messages of this level are printed: ask before costly preparations. */
int log_enabled(enum log_level level);
/* Overrides VIADUCT_LOG. */
void log_set_level(enum log_level level);
/* Who speaks: "viaduct" (default), "viaductd", ... The string must live on. */
void log_set_name(const char *name);

#define log_error(...) log_print(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_print(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_print(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
