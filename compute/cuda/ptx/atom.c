/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "alu_math.h"
#include "flow.h"

/* Atomic operations, one lane after the other. Blocks run on different threads: those on device
 * memory are atomic on the host, too. */

static uint64_t operate(enum atom_op op, enum atom_type type, uint64_t old, uint64_t b, uint64_t c)
{
    bool is_signed = type == TYPE_S32 || type == TYPE_S64,
         wide = type == TYPE_U64 || type == TYPE_S64 || type == TYPE_F64;
    int64_t so = wide ? (int64_t)old : (int32_t)old, sb = wide ? (int64_t)b : (int32_t)b;

    switch (op) {
    case ATOM_EXCH:
        return b;
    case ATOM_CAS:
        return old == b ? c : old;
    case ATOM_AND:
        return old & b;
    case ATOM_OR:
        return old | b;
    case ATOM_XOR:
        return old ^ b;
    case ATOM_INC:
        return (uint32_t)old >= (uint32_t)b ? 0 : old + 1;
    case ATOM_DEC:
        return !old || (uint32_t)old > (uint32_t)b ? b : old - 1;
    default:
        break;
    }
    switch (type) {
    case TYPE_F32: {
        float x = bits_float((uint32_t)old), y = bits_float((uint32_t)b);

        return float_bits(canonical(op == ATOM_ADD   ? x + y
                                    : op == ATOM_MIN ? minimum(x, y)
                                                     : maximum(x, y)));
    }
    case TYPE_F64:
        return double_bits(op == ATOM_ADD   ? bits_double(old) + bits_double(b)
                           : op == ATOM_MIN ? minimum_f64(bits_double(old), bits_double(b))
                                            : maximum_f64(bits_double(old), bits_double(b)));
    case TYPE_F16:
        return half_plain(half_float((uint16_t)old) + half_float((uint16_t)b));
    case TYPE_F16X2:
        return pair(half_plain(half_float(lo16((uint32_t)old)) + half_float(lo16((uint32_t)b))),
                    half_plain(half_float(hi16((uint32_t)old)) + half_float(hi16((uint32_t)b))));
    case TYPE_BF16:
        return brain_result(brain_float((uint16_t)old) + brain_float((uint16_t)b));
    case TYPE_BF16X2:
        return pair(
            brain_result(brain_float(lo16((uint32_t)old)) + brain_float(lo16((uint32_t)b))),
            brain_result(brain_float(hi16((uint32_t)old)) + brain_float(hi16((uint32_t)b))));
    default:
        break;
    }
    if (op == ATOM_ADD)
        return old + b;
    if (is_signed)
        return op == ATOM_MIN ? (so < sb ? old : b) : (so > sb ? old : b);
    return op == ATOM_MIN ? (old < b ? old : b) : (old > b ? old : b);
}

#define EXCHANGE(T)                                                                          \
    {                                                                                        \
        T *at = (T *)(void *)host, old = __atomic_load_n(at, __ATOMIC_RELAXED);              \
                                                                                             \
        while (!__atomic_compare_exchange_n(at, &old, (T)operate(op, type, old, (T)b, (T)c), \
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))      \
            ;                                                                                \
        return old;                                                                          \
    }

uint64_t atom_exchange(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                       uint64_t b, uint64_t c)
{
    if (bytes == 8)
        EXCHANGE(uint64_t)
    if (bytes == 4)
        EXCHANGE(uint32_t)
    EXCHANGE(uint16_t)
}

/* Shared and local memory are one thread's. */
static uint64_t plain(uint8_t *host, uint32_t bytes, enum atom_op op, enum atom_type type,
                      uint64_t b, uint64_t c)
{
    uint64_t old = 0, value;

    memcpy(&old, host, bytes);
    if (bytes < 8) {
        uint64_t mask = ((uint64_t)1 << bytes * 8) - 1;

        b &= mask;
        c &= mask;
    }
    value = operate(op, type, old, b, c);
    memcpy(host, &value, bytes);
    return old;
}

HANDLER(atom_run)
{
    enum atom_op op = in->flags >> 16 & 15;
    enum atom_type type = in->flags >> 20 & 15;
    enum ptx_space space = in->flags >> 24;
    uint32_t bytes = type == TYPE_U64 || type == TYPE_S64 || type == TYPE_F64    ? 8
                     : type == TYPE_F16 || type == TYPE_BF16 || type == TYPE_B16 ? 2
                                                                                 : 4;
    uint64_t address[LANES];

    if (w->group_count > 1 || w->block->running > 1)
        w->fuel -= 32;
    for (unsigned i = 0; i < LANES; i++)
        address[i] =
            (in->flags & F_ADDRESS32 ? ((const uint32_t *)(const void *)SLOT(w, in->a))[i]
                                     : ((const uint64_t *)(const void *)SLOT(w, in->a))[i]) +
            in->bits;
    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint8_t *host = access_lane(w, in, space, address[i], i, bytes, bytes, true);
        uint64_t b, c = 0, old;

        if (!host)
            return NULL;
        if (bytes == 8) {
            b = ((const uint64_t *)(const void *)SLOT(w, in->b))[i];
            if (in->c != NO_SLOT)
                c = ((const uint64_t *)(const void *)SLOT(w, in->c))[i];
        } else {
            b = ((const uint32_t *)(const void *)SLOT(w, in->b))[i];
            if (in->c != NO_SLOT)
                c = ((const uint32_t *)(const void *)SLOT(w, in->c))[i];
        }
        if ((uint64_t)(host - w->shared) < w->shared_bytes)
            old = plain(host, bytes, op, type, b, c);
        else
            old = atom_exchange(host, bytes, op, type, b, c);
        if (in->d == NO_SLOT)
            continue;
        if (bytes == 8)
            ((uint64_t *)(void *)SLOT(w, in->d))[i] = old;
        else
            ((uint32_t *)(void *)SLOT(w, in->d))[i] = (uint32_t)old;
    }
    return in + 1;
}

HANDLER(copy_async)
{
    uint32_t most = in->e;

    for (uint32_t left = w->mask; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint64_t to =
            (in->flags & F_ADDRESS32 ? ((const uint32_t *)(const void *)SLOT(w, in->d))[i]
                                     : ((const uint64_t *)(const void *)SLOT(w, in->d))[i]) +
            (uint64_t)(in->imm >> 32);
        uint64_t from = ((const uint64_t *)(const void *)SLOT(w, in->a))[i] +
                        (uint64_t)(int64_t)(int32_t)in->imm;
        uint32_t size =
            in->b == NO_SLOT ? most : ((const uint32_t *)(const void *)SLOT(w, in->b))[i];
        uint8_t *target = access_lane(w, in, SPACE_SHARED, to, i, most, most, true), *source;

        if (!target)
            return NULL;
        if (size > most)
            size = most;
        memset(target, 0, most);
        if (!size)
            continue;
        source = access_lane(w, in, SPACE_GLOBAL, from, i, size, 1, false);
        if (!source)
            return NULL;
        memmove(target, source, size);
    }
    return in + 1;
}
