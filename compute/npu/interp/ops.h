/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_ONNX_OPS_H
#define VIADUCT_ONNX_OPS_H

#include "internal.h"

/* Functions of the table, and what its rows tell them. */

enum onnx_unary {
    UN_ABS,
    UN_NEG,
    UN_SIGN,
    UN_FLOOR,
    UN_CEIL,
    UN_ROUND,
    UN_SQRT,
    UN_RECIPROCAL,
    UN_EXP,
    UN_LOG,
    UN_SIN,
    UN_COS,
    UN_TAN,
    UN_ASIN,
    UN_ACOS,
    UN_ATAN,
    UN_SINH,
    UN_COSH,
    UN_TANH,
    UN_ASINH,
    UN_ACOSH,
    UN_ATANH,
    UN_ERF,
    UN_SIGMOID,
    UN_RELU,
    UN_LEAKY,
    UN_ELU,
    UN_SELU,
    UN_CELU,
    UN_HARD_SIGMOID,
    UN_HARD_SWISH,
    UN_SOFTPLUS,
    UN_SOFTSIGN,
    UN_THRESHOLDED,
    UN_SHRINK,
    UN_MISH,
    UN_GELU,
    UN_GELU_TANH,
    UN_AFFINE,
    UN_SCALED_TANH,
};

enum onnx_binary {
    BIN_ADD,
    BIN_SUB,
    BIN_MUL,
    BIN_DIV,
    BIN_MOD,
    BIN_FMOD,
    BIN_MIN,
    BIN_MAX,
    BIN_AND,
    BIN_OR,
    BIN_XOR,
    BIN_LEFT,
    BIN_RIGHT,
    BIN_PRELU,
    BIN_BIT_AND,
    BIN_BIT_OR,
    BIN_BIT_XOR,
    BIN_POW,
    /* The result is bool. */
    BIN_EQUAL,
    BIN_LESS,
    BIN_GREATER,
    BIN_LESS_EQUAL,
    BIN_GREATER_EQUAL,
};

enum onnx_reduce {
    RED_SUM,
    RED_MEAN,
    RED_MAX,
    RED_MIN,
    RED_PROD,
    RED_L1,
    RED_L2,
    RED_LOG_SUM,
    RED_LOG_SUM_EXP,
    RED_SUM_SQUARE,
    RED_ARG_MAX,
    RED_ARG_MIN,
};

void onnx_unary_f32(int function, float *to, const float *from, int64_t n, float a, float b);
/* a op b, spread over each other, as output 0. */
int onnx_binary(struct call *call, int function, const struct value *a, const struct value *b,
                struct value *to);

#define OP(domain, name, since, until, function, ...) int onnx_op_##function(struct call *call);
#include "ops.def"

#endif
