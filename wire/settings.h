/* SPDX-License-Identifier: MIT */
#ifndef WIRE_SETTINGS_H
#define WIRE_SETTINGS_H

/*
 * Configuration files: one "key = value" a line; blank lines and lines that begin with # are
 * nothing.
 *
 * Takes one line apart, in place: *ret_key and *ret_value point into it, without blanks around
 * them. 1, 0 if the line says nothing, -VD_ERR_PARAMETER if it is not of this form. A value may be
 * empty, a key not.
 */
int settings_line(char *line, char **ret_key, char **ret_value);

#endif
