#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cases that ONNX's own suite lacks: ai.onnx.ml, what ONNX Runtime writes itself, old forms.

usage: tests/onnx/cases.py FOLDER                                writes them, for onnx_suite
       tests/onnx/cases.py --run SUITE                           writes them and runs it
       tests/onnx/cases.py --record SUITE LIBRARY                asks an ONNX Runtime for the answers

The answers are ONNX Runtime's, and stand in cases.json beside this file. Models and inputs are made
here, field by field of onnx.proto, without any package.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ANSWERS = os.path.join(HERE, "cases.json")
FLOAT, UINT8, INT8, INT32, INT64, STRING, DOUBLE = 1, 2, 3, 6, 7, 8, 11
PACK = {FLOAT: "f", UINT8: "B", INT8: "b", INT32: "i", INT64: "q", DOUBLE: "d"}


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(dtype, dims, values, name=""):
    out = b"".join(number(1, d) for d in dims) + number(2, dtype)
    if dtype == STRING:
        out += b"".join(data(6, v) for v in values)
    else:
        out += data(9, struct.pack("<%d%s" % (len(values), PACK[dtype]), *values))
    return out + (data(8, name) if name else b"")


def attribute(name, value):
    out = data(1, name)
    if isinstance(value, float):
        return out + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return out + number(3, value) + number(20, 2)
    if isinstance(value, str):
        return out + data(4, value) + number(20, 3)
    if isinstance(value, bytes):
        return out + data(5, value) + number(20, 4)
    if isinstance(value[0], float):
        return out + b"".join(varint(7 << 3 | 5) + struct.pack("<f", v) for v in value) + number(20, 6)
    if isinstance(value[0], int):
        return out + b"".join(number(8, v) for v in value) + number(20, 7)
    return out + b"".join(data(9, v) for v in value) + number(20, 8)


def of_tensor(dtype, dims):
    shape = b"".join(data(1, number(1, d) if d is not None else b"") for d in dims)
    return data(1, number(1, dtype) + data(2, shape))


def of_map(key, value):
    return data(5, number(1, key) + data(2, of_tensor(value, [])))


def of_sequence(what):
    return data(4, data(1, what))


class Case:
    """A model of nodes [(operator, inputs, outputs, domain, attributes)], and what it is given."""

    def __init__(self, name, opset=13, ml=3):
        self.name, self.opsets = name, [("", opset), ("ai.onnx.ml", ml), ("com.microsoft", 1)]
        self.nodes, self.inputs, self.outputs, self.constants = [], [], [], []

    def node(self, op, inputs, outputs, domain="", **attributes):
        out = b"".join(data(1, i) for i in inputs) + b"".join(data(2, o) for o in outputs) + data(4, op)
        out += b"".join(data(5, attribute(k, v)) for k, v in attributes.items())
        self.nodes.append(out + (data(7, domain) if domain else b""))

    def given(self, name, dtype, dims, values):
        self.inputs.append((name, of_tensor(dtype, dims), tensor(dtype, dims, values)))

    def constant(self, name, dtype, dims, values):
        self.constants.append(tensor(dtype, dims, values, name))

    def gives(self, name, kind):
        self.outputs.append((name, kind))

    def model(self):
        graph = b"".join(data(1, n) for n in self.nodes) + data(2, self.name)
        graph += b"".join(data(5, c) for c in self.constants)
        graph += b"".join(data(11, data(1, n) + data(2, t)) for n, t, _ in self.inputs)
        graph += b"".join(data(12, data(1, n) + data(2, t)) for n, t in self.outputs)
        sets = b"".join(data(8, (data(1, d) if d else b"") + number(2, v)) for d, v in self.opsets)
        return number(1, 8) + data(2, "cases.py") + data(7, graph) + sets


ML, MS = "ai.onnx.ml", "com.microsoft"
CASES = []


def simple(name, op, inputs, outputs, domain="", opset=13, ml=3, **attributes):
    """One node; inputs (type, dims, values), or a constant with a fourth element, or None."""
    case = Case(name, opset, ml)
    names = []
    for i, one in enumerate(inputs):
        names.append("in%d" % i if one else "")
        if one and len(one) == 4:
            case.constant("in%d" % i, *one[:3])
        elif one:
            case.given("in%d" % i, *one)
    case.node(op, names, ["out%d" % i for i in range(len(outputs))], domain, **attributes)
    for i, kind in enumerate(outputs):
        case.gives("out%d" % i, kind)
    CASES.append(case)
    return case


def floats(seed, *dims, low=-2.0, high=2.0):
    r = random.Random(seed)
    count = 1
    for d in dims:
        count *= d
    # What a float holds exactly.
    return (FLOAT, list(dims), [round(r.uniform(low, high) * 64) / 64 for _ in range(count)])


def octets(seed, dtype, *dims):
    r = random.Random(seed)
    count = 1
    for d in dims:
        count *= d
    low = 0 if dtype == UINT8 else -128
    return (dtype, list(dims), [r.randint(low, low + 255) for _ in range(count)])


def scalar(dtype, value):
    return (dtype, [], [value])


def out(dtype, *dims):
    return of_tensor(dtype, dims)


def values(seed, count, low=-1.0, high=1.0):
    return floats(seed, count, low=low, high=high)[2]


def linear():
    x = floats(1, 5, 3)
    for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
        if post != "PROBIT":
            simple("linear_regressor_" + post, "LinearRegressor", [x], [out(FLOAT, 5, 2)], ML,
                   coefficients=values(2, 6), intercepts=values(3, 2), targets=2, post_transform=post)
        if post != "PROBIT":
            simple("linear_classifier_" + post, "LinearClassifier", [x], [out(INT64, 5), out(FLOAT, 5, 3)], ML,
                   coefficients=values(4, 9), intercepts=values(5, 3), classlabels_ints=[4, 7, 9],
                   post_transform=post)
            simple("linear_classifier_two_" + post, "LinearClassifier", [x], [out(STRING, 5), out(FLOAT, 5, 2)],
                   ML, coefficients=values(6, 3), intercepts=values(7, 1), classlabels_strings=["no", "yes"],
                   post_transform=post)
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        simple("linear_regressor_one_" + post, "LinearRegressor", [x], [out(FLOAT, 5, 1)], ML,
               coefficients=values(2, 3), intercepts=values(3, 1), post_transform=post)


def rows():
    x = floats(11, 4, 3)
    for norm in ("MAX", "L1", "L2"):
        simple("normalizer_" + norm, "Normalizer", [x], [out(FLOAT, 4, 3)], ML, norm=norm)
    simple("normalizer_zero", "Normalizer", [(FLOAT, [2, 2], [0.0, 0.0, 3.0, 4.0])], [out(FLOAT, 2, 2)], ML, norm="L2")
    simple("scaler", "Scaler", [x], [out(FLOAT, 4, 3)], ML, offset=values(12, 3), scale=values(13, 3))
    simple("scaler_one", "Scaler", [x], [out(FLOAT, 4, 3)], ML, offset=[0.5], scale=[2.0])
    simple("scaler_int64", "Scaler", [(INT64, [2, 2], [1, 2, 3, 4])], [out(FLOAT, 2, 2)], ML, offset=values(12, 2),
           scale=values(13, 2))
    simple("binarizer", "Binarizer", [x], [out(FLOAT, 4, 3)], ML, threshold=0.25)
    simple("imputer", "Imputer", [(FLOAT, [2, 3], [1.0, float("nan"), 3.0, float("nan"), 5.0, 6.0])],
           [out(FLOAT, 2, 3)], ML, imputed_value_floats=[7.0, 8.0, 9.0], replaced_value_float=float("nan"))
    simple("imputer_int64", "Imputer", [(INT64, [2, 2], [1, -1, -1, 4])], [out(INT64, 2, 2)], ML,
           imputed_value_int64s=[5], replaced_value_int64=-1)
    simple("array_features", "ArrayFeatureExtractor", [x, (INT64, [2], [2, 0])], [out(FLOAT, 4, 2)], ML)
    simple("array_features_row", "ArrayFeatureExtractor", [(STRING, [3], ["a", "bc", "d"]), (INT64, [2], [1, 1])],
           [out(STRING, 1, 2)], ML)
    simple("feature_vectorizer", "FeatureVectorizer", [floats(14, 2, 2), floats(15, 2, 3)], [out(FLOAT, 2, 5)], ML,
           inputdimensions=[2, 3])


def words():
    text = (STRING, [2, 2], ["a", "b", "zz", "a"])
    simple("label_encoder_ints", "LabelEncoder", [text], [out(INT64, 2, 2)], ML, keys_strings=["a", "b"],
           values_int64s=[5, 6], default_int64=-3)
    simple("label_encoder_strings", "LabelEncoder", [(INT64, [3], [1, 2, 3])], [out(STRING, 3)], ML,
           keys_int64s=[1, 3], values_strings=["one", "three"])
    simple("label_encoder_floats", "LabelEncoder", [(FLOAT, [3], [0.5, 1.5, float("nan")])], [out(FLOAT, 3)], ML,
           keys_floats=[0.5, float("nan")], values_floats=[10.0, 20.0], default_float=-1.0)
    simple("label_encoder_old", "LabelEncoder", [text], [out(INT64, 2, 2)], ML, ml=1, classes_strings=["b", "a"],
           default_int64=9)
    simple("label_encoder_old_back", "LabelEncoder", [(INT64, [3], [1, 0, 7])], [out(STRING, 3)], ML, ml=1,
           classes_strings=["b", "a"], default_string="?")
    simple("label_encoder_tensors", "LabelEncoder", [(INT64, [3], [1, 2, 3])], [out(DOUBLE, 3)], ML, ml=4,
           keys_int64s=[3, 1], values_tensor=tensor(DOUBLE, [2], [0.25, 0.75]),
           default_tensor=tensor(DOUBLE, [1], [-0.5]))
    simple("category_mapper", "CategoryMapper", [text], [out(INT64, 2, 2)], ML, cats_int64s=[3, 4],
           cats_strings=["a", "b"], default_int64=8)
    simple("one_hot_strings", "OneHotEncoder", [text], [out(FLOAT, 2, 2, 3)], ML, cats_strings=["b", "a", "c"])
    simple("one_hot_ints", "OneHotEncoder", [(INT64, [3], [4, 5, 6])], [out(FLOAT, 3, 2)], ML, cats_int64s=[4, 6])
    simple("one_hot_floats", "OneHotEncoder", [(FLOAT, [2], [4.0, 6.0])], [out(FLOAT, 2, 2)], ML, cats_int64s=[4, 6])


def forest(seed, trees, depth, results, features, mixed=True, positive=False):
    """Complete trees: attributes of nodes, and (tree, node, result, weight)."""
    r = random.Random(seed)
    keys = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
            "missing_value_tracks_true")
    nodes = {k: [] for k in keys}
    weights = []
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"] if mixed else ["BRANCH_LEQ"]
    for tree in range(trees):
        mode = r.choice(modes)
        for node in range((2 << depth) - 1):
            leaf = node >= (1 << depth) - 1
            row = (tree, node, 0 if leaf else r.randrange(features), 0.0 if leaf else round(r.uniform(-1, 1) * 64) / 64,
                   "LEAF" if leaf else mode, 0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2,
                   0 if leaf else r.randrange(2))
            for key, value in zip(keys, row):
                nodes[key].append(value)
            for result in range(results) if leaf else ():
                weights.append((tree, node, result, round(r.uniform(0 if positive else -1, 1) * 64) / 64))
    return {"nodes_" + k: v for k, v in nodes.items()}, weights


def listed(weights, prefix, ids):
    return {prefix + "_treeids": [w[0] for w in weights], prefix + "_nodeids": [w[1] for w in weights],
            ids: [w[2] for w in weights], prefix + "_weights": [w[3] for w in weights]}


def trees():
    x = floats(21, 6, 4)
    x[2][5] = float("nan")
    nodes, weights = forest(22, 3, 2, 2, 4)
    more = listed(weights, "target", "target_ids")
    for how in ("SUM", "AVERAGE", "MIN", "MAX"):
        simple("trees_regressor_" + how, "TreeEnsembleRegressor", [x], [out(FLOAT, 6, 2)], ML, n_targets=2,
               aggregate_function=how, base_values=[0.5, -0.25], **nodes, **more)
    nodes, weights = forest(23, 4, 2, 1, 4, mixed=False)
    more = listed(weights, "target", "target_ids")
    for post in ("NONE", "LOGISTIC"):
        simple("trees_regressor_one_" + post, "TreeEnsembleRegressor", [x], [out(FLOAT, 6, 1)], ML, n_targets=1,
               post_transform=post, **nodes, **more)
    for classes in (2, 3):
        labels = {"classlabels_int64s": [3, 8, 11] if classes == 3 else [0, 1]}
        for positive in (True, False):
            nodes, weights = forest(24 + classes, 3, 2, classes, 4, positive=positive)
            more = listed(weights, "class", "class_ids")
            for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
                for bases in (0, classes):
                    base = {"base_values": values(30, bases)} if bases else {}
                    simple("trees_classifier_%d_%s_%s_%d" % (classes, "p" if positive else "m", post, bases),
                           "TreeEnsembleClassifier", [x], [out(INT64, 6), out(FLOAT, 6, classes)], ML,
                           post_transform=post, **labels, **nodes, **more, **base)
    for which in (0, 1):
        for positive in (True, False):
            nodes, weights = forest(40, 3, 2, 1, 4, positive=positive)
            weights = [(t, n, which, w) for t, n, _, w in weights]
            more = listed(weights, "class", "class_ids")
            for post in ("NONE", "LOGISTIC", "SOFTMAX"):
                for bases in (0, 1, 2):
                    base = {"base_values": values(31, bases)} if bases else {}
                    simple("trees_classifier_one%d_%s_%s_%d" % (which, "p" if positive else "m", post, bases),
                           "TreeEnsembleClassifier", [x], [out(STRING, 6), out(FLOAT, 6, 2)], ML,
                           post_transform=post, classlabels_strings=["no", "yes"], **nodes, **more, **base)


def svm():
    x = floats(81, 5, 3)
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        more = {"kernel_type": kernel, "kernel_params": [0.25, 0.5, 2.0]}
        simple("svm_regressor_" + kernel, "SVMRegressor", [x], [out(FLOAT, 5, 1)], ML, coefficients=values(82, 4),
               support_vectors=values(83, 12), rho=values(84, 1), n_supports=4, **more)
        simple("svm_classifier_" + kernel, "SVMClassifier", [x], [out(INT64, 5), out(FLOAT, 5, 3)], ML,
               coefficients=values(85, 12), support_vectors=values(86, 18), rho=values(87, 3),
               vectors_per_class=[2, 1, 3], classlabels_ints=[7, 8, 9], **more)
    for signs in ("mixed", "positive"):
        low = 0 if signs == "positive" else -1
        simple("svm_classifier_two_" + signs, "SVMClassifier", [x], [out(INT64, 5), out(FLOAT, 5, 2)], ML,
               coefficients=values(92, 4, low=low), support_vectors=values(93, 12), rho=[-0.625 if signs == "positive" else -0.125],
               vectors_per_class=[2, 2], classlabels_ints=[0, 1], kernel_type="RBF", kernel_params=[0.5, 0.0, 3.0])
    simple("svm_classifier_four", "SVMClassifier", [x], [out(STRING, 5), out(FLOAT, 5, 6)], ML,
           coefficients=values(88, 15), support_vectors=values(89, 15), rho=values(90, 6),
           vectors_per_class=[1, 1, 2, 1], classlabels_strings=["a", "b", "c", "d"], kernel_type="RBF",
           kernel_params=[0.5, 0.0, 3.0])


def fused():
    x = floats(51, 2, 3, 4)
    simple("ms_gelu", "Gelu", [x], [out(FLOAT, 2, 3, 4)], MS)
    simple("ms_bias_gelu", "BiasGelu", [x, floats(52, 4)], [out(FLOAT, 2, 3, 4)], MS)
    simple("ms_fast_gelu", "FastGelu", [x, floats(52, 4)], [out(FLOAT, 2, 3, 4)], MS)
    simple("ms_quick_gelu", "QuickGelu", [x], [out(FLOAT, 2, 3, 4)], MS, alpha=1.5)
    for a in (0, 1):
        for b in (0, 1):
            simple("ms_fused_matmul_%d%d" % (a, b), "FusedMatMul",
                   [floats(53, *((2, 5, 3) if a else (2, 3, 5))), floats(54, *((2, 4, 5) if b else (2, 5, 4)))],
                   [out(FLOAT, 2, 3, 4)], MS, alpha=0.5, transA=a, transB=b)
    for activation in ("Relu", "Tanh", "Sigmoid"):
        simple("ms_fused_gemm_" + activation, "FusedGemm", [floats(55, 2, 3), floats(56, 3, 4), floats(57, 4)],
               [out(FLOAT, 2, 4)], MS, activation=activation)
        simple("ms_fused_conv_" + activation, "FusedConv", [floats(58, 1, 2, 4, 4), floats(59, 3, 2, 3, 3), floats(60, 3)],
               [out(FLOAT, 1, 3, 4, 4)], MS, activation=activation, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    simple("ms_fused_conv_sum", "FusedConv",
           [floats(58, 1, 2, 4, 4), floats(59, 3, 2, 3, 3), floats(60, 3), floats(61, 1, 3, 4, 4)],
           [out(FLOAT, 1, 3, 4, 4)], MS, activation="LeakyRelu", activation_params=[0.25], kernel_shape=[3, 3],
           pads=[1, 1, 1, 1])
    simple("ms_fused_conv_clip", "FusedConv", [floats(58, 1, 2, 4, 4), floats(59, 3, 2, 3, 3)], [out(FLOAT, 1, 3, 2, 2)],
           MS, activation="Clip", activation_params=[-0.5, 1.5], kernel_shape=[3, 3])
    simple("ms_skip_norm", "SkipLayerNormalization", [x, floats(62, 2, 3, 4), floats(63, 4), floats(64, 4), floats(65, 4)],
           [out(FLOAT, 2, 3, 4)], MS, epsilon=1e-5)
    simple("ms_skip_simple_norm", "SkipSimplifiedLayerNormalization", [x, floats(62, 2, 3, 4), floats(63, 4)],
           [out(FLOAT, 2, 3, 4)], MS, epsilon=1e-5)
    simple("simple_norm", "SimplifiedLayerNormalization", [x, floats(63, 4)], [out(FLOAT, 2, 3, 4)], epsilon=1e-5,
           axis=-1)
    simple("group_norm", "GroupNormalization", [floats(66, 2, 4, 3), floats(67, 2), floats(68, 2)], [out(FLOAT, 2, 4, 3)],
           opset=18, num_groups=2)
    simple("group_norm_21", "GroupNormalization", [floats(66, 2, 4, 3), floats(67, 4), floats(68, 4)],
           [out(FLOAT, 2, 4, 3)], opset=21, num_groups=2)
    for p in (1, 2):
        simple("lp_norm_%d" % p, "LpNormalization", [x], [out(FLOAT, 2, 3, 4)], axis=1, p=p)
    for op in ("And", "Or", "Xor"):
        simple("bitwise_" + op, "Bitwise" + op, [(INT32, [3], [12, -7, 1]), (INT32, [3], [10, 3, 0])], [out(INT32, 3)],
               opset=18)
    simple("bitwise_not", "BitwiseNot", [(UINT8, [3], [0, 5, 255])], [out(UINT8, 3)], opset=18)
    simple("quantize_21", "QuantizeLinear", [x, scalar(FLOAT, 0.03125), scalar(INT8, 3)], [out(INT8, 2, 3, 4)], opset=21)
    simple("resize_19", "Resize", [floats(69, 1, 1, 2, 2), None, (FLOAT, [4], [1.0, 1.0, 2.0, 2.0], 0)],
           [out(FLOAT, 1, 1, 4, 4)], opset=19, mode="linear", keep_aspect_ratio_policy="stretch", antialias=0)


def quantised():
    for name, dtype in (("u8", UINT8), ("i8", INT8)):
        a, b = octets(71, dtype, 2, 4), octets(72, dtype, 4)
        zeros = [scalar(dtype, v) for v in ((120, 130, 100) if dtype == UINT8 else (3, -9, 20))]
        def scale(value):
            return scalar(FLOAT, value)
        simple("ms_qlinear_add_" + name, "QLinearAdd",
               [a, scale(0.25), zeros[0], b, scale(0.125), zeros[1], scale(0.5), zeros[2]], [out(dtype, 2, 4)], MS)
        simple("ms_qlinear_mul_" + name, "QLinearMul",
               [a, scale(0.25), zeros[0], b, scale(0.125), zeros[1], scale(2.0), zeros[2]], [out(dtype, 2, 4)], MS)
        constant = [one + (0,) for one in (scale(0.0625), zeros[0], scale(0.0078125), zeros[2])]
        simple("ms_qlinear_sigmoid_" + name, "QLinearSigmoid", [a] + constant, [out(dtype, 2, 4)], MS)
        simple("ms_qlinear_leaky_" + name, "QLinearLeakyRelu", [a] + constant[:2] + [scale(0.125) + (0,), constant[3]],
               [out(dtype, 2, 4)], MS, alpha=0.1)
        for last in (0, 1):
            simple("ms_qlinear_pool_%s_%d" % (name, last), "QLinearGlobalAveragePool",
                   [octets(73, dtype, 1, 3, 3, 3), scale(0.25), zeros[0], scale(0.125), zeros[2]],
                   [out(dtype, 1, 1, 1, 3) if last else out(dtype, 1, 3, 1, 1)], MS, channels_last=last)
        simple("ms_qlinear_concat_" + name, "QLinearConcat",
               [one + (0,) for one in (scale(0.5), zeros[2])] + [a, scale(0.25) + (0,), zeros[0] + (0,)] +
               [octets(74, dtype, 2, 3), scale(0.125) + (0,), zeros[1] + (0,)], [out(dtype, 2, 7)], MS, axis=1)
    weights = octets(75, UINT8, 3, 4)
    simple("ms_dynamic_matmul", "DynamicQuantizeMatMul",
           [floats(76, 2, 3), weights, (FLOAT, [1], [0.0625]), (UINT8, [1], [120]), floats(77, 4)], [out(FLOAT, 2, 4)], MS)
    simple("ms_matmul_to_float", "MatMulIntegerToFloat",
           [octets(78, UINT8, 2, 3), weights, (FLOAT, [1], [0.25]), (FLOAT, [4], [0.5, 0.25, 0.125, 1.0]),
            (UINT8, [1], [100]), (UINT8, [4], [120, 121, 122, 123]), floats(77, 4)], [out(FLOAT, 2, 4)], MS)


linear()
rows()
words()
trees()
svm()
fused()
quantised()


def write(folder, answers):
    for case in CASES:
        place = os.path.join(folder, case.name, "test_data_set_0")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(folder, case.name, "model.onnx"), "wb") as f:
            f.write(case.model())
        for i, (_, _, value) in enumerate(case.inputs):
            with open(os.path.join(place, "input_%d.pb" % i), "wb") as f:
                f.write(value)
        for i, answer in enumerate(answers.get(case.name) or []):
            with open(os.path.join(place, "output_%d.pb" % i), "wb") as f:
                f.write(tensor(*answer))


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--record":
        with tempfile.TemporaryDirectory() as folder:
            write(folder, {})
            text = subprocess.run([sys.argv[2], "--print", "--ort", sys.argv[3], folder], check=True,
                                  stdout=subprocess.PIPE).stdout.decode()
        text = text.rstrip().rstrip(",")
        answers = json.loads("{" + text.replace("-nan", "NaN").replace("nan", "NaN").replace("inf", "Infinity") + "}")
        for name in [n for n, a in answers.items() if a is None]:
            print("refused: " + name)
            del answers[name]
        with open(ANSWERS, "w") as f:
            f.write("{\n" + ",\n".join("%s: %s" % (json.dumps(n), json.dumps(a)) for n, a in sorted(answers.items())) + "\n}\n")
        return 0
    with open(ANSWERS) as f:
        answers = json.load(f)
    if len(sys.argv) == 3 and sys.argv[1] == "--run":
        with tempfile.TemporaryDirectory() as folder:
            write(folder, answers)
            return subprocess.run([sys.argv[2], "--verbose", "--least", str(len(answers)), folder]).returncode
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    write(sys.argv[1], answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
