/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "options_private.h"

#define HEAD "[client"

/* Lives as long as the program. */
static const char *keep(const struct place *place, const char *value)
{
    const char *kept = strdup(value);

    if (!kept)
        options_refuse(place, value, "out of memory");
    return kept;
}

struct policy_rule *options_rule(const struct place *place, char *line, struct policy *policy)
{
    struct policy_rule *rule;
    char *name, *end;

    while (isspace((unsigned char)*line))
        line++;
    if (*line != '[')
        return NULL;
    end = line + strcspn(line, "]");
    if (strncmp(line, HEAD, strlen(HEAD)) || !isspace((unsigned char)line[strlen(HEAD)]) || !*end ||
        end[1 + strspn(end + 1, " \t\r\n")])
        options_refuse(place, "", "sections are written [client NAME]");
    *end = 0;
    name = line + strlen(HEAD);
    while (isspace((unsigned char)*name))
        name++;
    while (end > name && isspace((unsigned char)end[-1]))
        *--end = 0;
    if (!*name || strlen(name) >= sizeof(rule->name))
        options_refuse(place, "", "the name of a client has 1 to %d characters",
                       POLICY_NAME_BYTES - 1);
    for (int i = 0; i < policy->count; i++) {
        if (!strcmp(policy->rule[i].name, name))
            options_refuse(place, "", "there is a [client %s] already", name);
    }
    if (policy->count == POLICY_MAX_RULES)
        options_refuse(place, "", "more than %d clients", POLICY_MAX_RULES);
    rule = &policy->rule[policy->count++];
    strcpy(rule->name, name);
    return rule;
}

static void set_from(struct policy *policy, struct policy_rule *rule, const struct place *place,
                     const char *value)
{
    const char *wrong;

    (void)policy;
    if (rule->from_count == POLICY_MAX_FROM)
        options_refuse(place, value, "more than %d for one client", POLICY_MAX_FROM);
    wrong = policy_from(value, &rule->from[rule->from_count]);
    if (wrong)
        options_refuse(place, value, "%s", wrong);
    rule->from_count++;
}

static void set_on(struct policy *policy, struct policy_rule *rule, const struct place *place,
                   const char *value)
{
    const char *wrong = policy_on(value);

    (void)policy;
    if (rule->on_count == POLICY_MAX_ON)
        options_refuse(place, value, "more than %d for one client", POLICY_MAX_ON);
    if (wrong)
        options_refuse(place, value, "%s", wrong);
    rule->on[rule->on_count++] = keep(place, value);
}

static void set_serve(struct policy *policy, struct policy_rule *rule, const struct place *place,
                      const char *value)
{
    (void)policy;
    rule->serve = options_yes(place, value) ? POLICY_YES : POLICY_NO;
}

static void set_backend(struct policy *policy, struct policy_rule *rule, const struct place *place,
                        const char *value)
{
    const char *backends[POLICY_MAX_BACKENDS + 1];

    if (rule->backend)
        options_refuse(place, value, "this client has one already");
    rule->backend = keep(place, value);
    if (policy_backends(policy, backends, POLICY_MAX_BACKENDS + 1) > POLICY_MAX_BACKENDS)
        options_refuse(place, value, "more than %d different ones", POLICY_MAX_BACKENDS);
}

static void set_cuda(struct policy *policy, struct policy_rule *rule, const struct place *place,
                     const char *value)
{
    (void)policy;
    if (strcmp(value, "none"))
        options_refuse(place, value, "only none can be said for one client");
    rule->no_cuda = true;
}

static void set_region(struct policy *policy, struct policy_rule *rule, const struct place *place,
                       const char *value)
{
    (void)policy;
    if (rule->region)
        options_refuse(place, value, "this client has one already");
    if (*value != '/')
        options_refuse(place, value, "write a folder, from the root on");
    rule->region = keep(place, value);
}

#define NUMBER(key, field, least, most)                                                           \
    {                                                                                             \
        key, NULL, offsetof(struct policy_rule, field), sizeof(((struct policy_rule *)0)->field), \
            least, most                                                                           \
    }

static const struct {
    const char *key;
    void (*set)(struct policy *policy, struct policy_rule *rule, const struct place *place,
                const char *value);
    /* A number of that many bytes, there. */
    size_t offset, bytes;
    uint64_t least, most;
} rule_keys[] = {
    {.key = "from", .set = set_from},
    {.key = "on", .set = set_on},
    {.key = "serve", .set = set_serve},
    {.key = "backend", .set = set_backend},
    {.key = "cuda", .set = set_cuda},
    {.key = "region", .set = set_region},
    NUMBER("max-clients", max_clients, 1, VD_MAX_STATS_CLIENTS),
    NUMBER("max-contexts", max_contexts, 1, VD_MAX_CONTEXTS),
    NUMBER("max-surfaces", max_surfaces, 1, VD_MAX_SURFACES),
    NUMBER("max-bytes", max_bytes, 1 << 20, 1ull << 40),
    NUMBER("max-pixels", max_pixels, 1 << 16, 1ull << 40),
    NUMBER("max-cuda-bytes", max_cuda_bytes, 1 << 20, 1ull << 40),
};

void options_rule_set(struct policy *policy, struct policy_rule *rule, const struct place *place,
                      const char *value)
{
    for (size_t i = 0; i < sizeof(rule_keys) / sizeof(rule_keys[0]); i++) {
        uint8_t *field = (uint8_t *)rule + rule_keys[i].offset;
        uint64_t n;

        if (strcmp(place->name, rule_keys[i].key))
            continue;
        if (rule_keys[i].set) {
            rule_keys[i].set(policy, rule, place, value);
            return;
        }
        n = options_number(place, value, rule_keys[i].least, rule_keys[i].most);
        if (rule_keys[i].bytes == sizeof(uint32_t))
            memcpy(field, &(uint32_t){(uint32_t)n}, sizeof(uint32_t));
        else
            memcpy(field, &n, sizeof(n));
        return;
    }
    options_refuse(place, value,
                   "there is no such setting of [client %s]; general ones stand above it, see "
                   "viaductd(8)",
                   rule->name);
}
