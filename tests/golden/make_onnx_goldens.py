"""Makes the goldens of tests/weights/onnx_test.cpp: run in tests/golden with onnx and numpy installed.

weights_operators.onnx  one of everything the reader knows, in the ways exporters write it.
weights_skeleton.onnx   the folded MobileNetV2 as PyTorch exports it, every node and edge of it, with one
                        or two channels: convolution i has weights i and biases 100 + i.
Last made with onnx 1.23, numpy 2.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(path, nodes, constants, inputs, opset, metadata=()):
    graph = helper.make_graph(nodes, "golden", inputs,
                              [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    for key, value in metadata:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, path)


def picture(name, size):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, size, size])


def array(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def operators():
    constants = [
        array("shift", np.arange(3).reshape(1, 3, 1, 1)),
        array("w0", np.arange(54).reshape(2, 3, 3, 3), np.float16),
        helper.make_tensor("b0", TensorProto.FLOAT, [2], [0.5, -0.25]),  # float_data, not raw
        array("w1", np.arange(2).reshape(2, 1, 1, 1), np.float64),
        array("axes", [2, 3], np.int64),
        array("w2", np.arange(6).reshape(2, 3)),
        array("b2", [7, 8, 9]),
        array("first", 0, np.int64),
        array("zero", [0], np.int64),
        array("rest", [-1], np.int64),
    ]
    nodes = [
        helper.make_node("Sub", ["pixels", "shift"], ["centred"]),
        helper.make_node("Conv", ["centred", "w0", "b0"], ["c0"], name="stem", auto_pad="SAME_UPPER",
                         strides=[2, 2]),
        helper.make_node("Constant", [], ["six"], value=array("six", 6)),
        helper.make_node("Clip", ["c0", "", "six"], ["a0"]),
        helper.make_node("Identity", ["w1"], ["w1_alias"]),
        helper.make_node("Conv", ["a0", "w1_alias"], ["c1"], group=2, kernel_shape=[1, 1]),
        helper.make_node("Dropout", ["c1"], ["d1"]),
        helper.make_node("Add", ["d1", "a0"], ["sum"]),
        helper.make_node("ReduceMean", ["sum"], ["means"], axes=[-1, -2], keepdims=1),
        helper.make_node("Shape", ["means"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch"], ["batch1"], axes=[0]),
        helper.make_node("Concat", ["batch1", "rest"], ["flat_shape"], axis=0),
        helper.make_node("Reshape", ["means", "flat_shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["dense"], alpha=0.5),
        helper.make_node("Tanh", ["dense"], ["output"]),
    ]
    save("weights_operators.onnx", nodes, constants, [picture("pixels", 64)], 12, [("note", "äöü")])


class Network:
    def __init__(self):
        self.nodes = []
        self.constants = [array("lo", 0), array("hi", 6)]
        self.count = 0

    def node(self, op, inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def conv(self, x, c, k, kernel, stride, group, relu6=True):
        i = self.count
        self.count += 1
        self.constants += [array(f"w{i}", np.full((k, c // group, kernel, kernel), i)),
                           array(f"b{i}", np.full(k, 100 + i))]
        pad = kernel // 2
        y = self.node("Conv", [x, f"w{i}", f"b{i}"], dilations=[1, 1], group=group,
                      kernel_shape=[kernel, kernel], pads=[pad] * 4, strides=[stride, stride])
        return self.node("Clip", [y, "lo", "hi"]) if relu6 else y


def skeleton():
    net = Network()
    x = net.conv("input", 3, 2, 3, 2, 1)
    c = 2
    stages = [(1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1)]
    for stage, (expand, repeats, first_stride) in enumerate(stages):
        k = 1 + stage % 2
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            wide = c if expand == 1 else 2
            y = net.conv(x, c, wide, 1, 1, 1) if expand != 1 else x
            y = net.conv(y, wide, wide, 3, stride, wide)
            y = net.conv(y, wide, k, 1, 1, 1, relu6=False)
            x = net.node("Add", [x, y]) if stride == 1 and c == k else y
            c = k
    x = net.conv(x, c, 2, 1, 1, 1)
    x = net.node("GlobalAveragePool", [x])
    x = net.node("Flatten", [x], axis=1)
    net.constants += [array("classifier.w", np.arange(6).reshape(3, 2)), array("classifier.b", [1, 2, 3])]
    net.nodes.append(helper.make_node("Gemm", [x, "classifier.w", "classifier.b"], ["output"], transB=1))
    save("weights_skeleton.onnx", net.nodes, net.constants, [picture("input", 224)], 12)


operators()
skeleton()
