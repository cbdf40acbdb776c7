/* SPDX-License-Identifier: MIT */
#ifndef HOST_OPTIONS_PRIVATE_H
#define HOST_OPTIONS_PRIVATE_H

#include "service.h"

/* Where an option stands: "viaductd: --threads" or "viaductd: FILE:3: threads". */
struct place {
    const char *file; /* NULL: the command line */
    unsigned line;
    const char *name;
};

/* Says what is wrong with a value, and ends the program. */
void __attribute__((format(printf, 3, 4), noreturn))
options_refuse(const struct place *place, const char *value, const char *format, ...);
/* A number between least and most with an optional K, M or G. */
uint64_t options_number(const struct place *place, const char *text, uint64_t least, uint64_t most);
bool options_yes(const struct place *place, const char *text);

/* options_rule.c: "[client NAME]"; NULL: the line is no head of a section. */
struct policy_rule *options_rule(const struct place *place, char *line, struct policy *policy);
/* One key of such a section. */
void options_rule_set(struct policy *policy, struct policy_rule *rule, const struct place *place,
                      const char *value);

#endif
