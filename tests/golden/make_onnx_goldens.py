"""Makes the goldens of tests/weights/onnx_test.cpp: run in tests/golden with onnx and numpy installed.

weights_operators.onnx  one of everything the reader knows, in the ways exporters write it.
weights_skeleton.onnx   the folded MobileNetV2 as PyTorch exports it, every node and edge of it, with one
                        or two channels: convolution i has weights i and biases 100 + i.
weights_unfused.onnx    the same network in the other ways of exporters: NHWC input that the graph scales, batch
                        norms apart, Pad before stride 2, Relu and Min, MatMul and Add, weights in half
                        precision behind casts, two outputs with a softmax; large constants lie in
                        weights_unfused.onnx.data. Its norm i has gamma i + 1, beta i / 8, mean i / 4, variance
                        i + 0.5.
Last made with onnx 1.23, numpy 2.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(path, nodes, constants, inputs, opset, metadata=(), external=False):
    graph = helper.make_graph(nodes, "golden", inputs,
                              [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    for key, value in metadata:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=path + ".data", size_threshold=16)
    else:
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


STAGES = [(1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1)]


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

    # The base on x, of one or two channels.
    def base(self, x):
        x = self.conv(x, 3, 2, 3, 2, 1)
        c = 2
        for stage, (expand, repeats, first_stride) in enumerate(STAGES):
            k = 1 + stage % 2
            for i in range(repeats):
                stride = first_stride if i == 0 else 1
                wide = c if expand == 1 else 2
                y = self.conv(x, c, wide, 1, 1, 1) if expand != 1 else x
                y = self.conv(y, wide, wide, 3, stride, wide)
                y = self.conv(y, wide, k, 1, 1, 1, relu6=False)
                x = self.node("Add", [x, y]) if stride == 1 and c == k else y
                c = k
        return self.conv(x, c, 2, 1, 1, 1)


def skeleton():
    net = Network()
    x = net.base("input")
    x = net.node("GlobalAveragePool", [x])
    x = net.node("Flatten", [x], axis=1)
    net.constants += [array("classifier.w", np.arange(6).reshape(3, 2)), array("classifier.b", [1, 2, 3])]
    net.nodes.append(helper.make_node("Gemm", [x, "classifier.w", "classifier.b"], ["output"], transB=1))
    save("weights_skeleton.onnx", net.nodes, net.constants, [picture("input", 224)], 12)


class Unfused(Network):
    def conv(self, x, c, k, kernel, stride, group, relu6=True):
        i = self.count
        self.count += 1
        weight = array(f"half{i}", np.full((k, c // group, kernel, kernel), i), np.float16)
        self.constants += [weight] + [
            array(f"{name}{i}", np.full(k, value)) for name, value in
            (("gamma", i + 1), ("beta", i / 8), ("mean", i / 4), ("variance", i + 0.5))]
        pads = [kernel // 2] * 4
        if stride == 2:
            self.constants.append(array(f"pads{i}", [0, 0, 0, 0, 0, 0, 1, 1], np.int64))
            x, pads = self.node("Pad", [x, f"pads{i}"]), [0] * 4
        y = self.node("Conv", [x, self.node("Cast", [weight.name], to=TensorProto.FLOAT)], group=group,
                      pads=pads, strides=[stride, stride])
        y = self.node("BatchNormalization", [y, *(f"{n}{i}" for n in ("gamma", "beta", "mean", "variance"))],
                      epsilon=1e-3)
        return self.node("Min", [self.node("Relu", [y]), "hi"]) if relu6 else y


def unfused():
    net = Unfused()
    net.constants += [array("scale", 1 / 127.5), array("one", -1), array("dense1", np.arange(4).reshape(2, 2)),
                      array("bias1", [1, 2]), array("dense2", np.arange(4).reshape(2, 2))]
    x = net.node("Add", [net.node("Mul", ["scale", "input"]), "one"])
    x = net.base(net.node("Transpose", [x], perm=[0, 3, 1, 2]))
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    x = net.node("Relu", [net.node("Add", [net.node("MatMul", [x, "dense1"]), "bias1"])])
    net.nodes.append(helper.make_node("Softmax", [net.node("MatMul", [x, "dense2"])], ["output"], axis=1))
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 96, 96, 3])
    save("weights_unfused.onnx", net.nodes, net.constants, [picture], 13, external=True)


operators()
skeleton()
unfused()
