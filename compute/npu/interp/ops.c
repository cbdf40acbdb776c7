/* SPDX-License-Identifier: MIT */
#include "ops.h"

static const struct op table[] = {
#define OP(domain, name, since, until, function, ...) \
    {domain, #name, since, until, onnx_op_##function, __VA_ARGS__},
#include "ops.def"
};

const struct op *onnx_op_find(const char *domain, const char *name, int64_t version,
                              bool *ret_known)
{
    *ret_known = false;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (strcmp(table[i].name, name) || strcmp(table[i].domain, domain))
            continue;
        *ret_known = true;
        if (version >= table[i].since && version <= table[i].until)
            return &table[i];
    }
    return NULL;
}

bool onnx_operator_at(size_t index, const char **ret_domain, const char **ret_name, int *ret_since,
                      int *ret_until)
{
    if (index >= ARRAY_COUNT(table))
        return false;
    *ret_domain = table[index].domain;
    *ret_name = table[index].name;
    *ret_since = table[index].since;
    *ret_until = table[index].until;
    return true;
}
