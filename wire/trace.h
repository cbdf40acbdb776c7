/* SPDX-License-Identifier: MIT */
#ifndef WIRE_TRACE_H
#define WIRE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * VIADUCT_TRACE prints every message readably: "1" or "stderr" to standard error, anything else
 * names a file to append to. Read once. Off: one comparison a message.
 */
bool trace_enabled(void);
/* Opens the trace now, for a process that is about to lose the file system. */
void trace_open(void);
/*
 * Prints one message. `direction` is "->" for guest to host, "<-" for host to guest. The bytes
 * need not have passed the checks; what is not understood is said and skipped.
 */
void trace_message(const char *direction, const void *bytes, size_t size);
/* The same into `text` (always terminated); returns the length it would have had. */
size_t trace_format(const char *direction, const void *bytes, size_t size, char *text, size_t room);

#endif
