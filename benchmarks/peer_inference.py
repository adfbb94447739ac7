"""The sides of `peers.py` that only predict: onnxruntime, OpenVINO and LiteRT.

Each is given the network as its own kind of model, made here from the weights, and the threads of
the cell. onnxruntime runs twice, because by default its idle threads spin for a while: that speeds
up its own next call, and slows down whatever else the machine does.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from itertools import pairwise

import numpy as np
from peer_sides import Side


def threads() -> int:
    """Return the number of threads of this process's peer."""
    return int(os.environ["FASTNN_NUM_THREADS"])


class Inference(Side):
    """A network that is only run forward, with relu after the hidden layers."""

    def build(self):
        self.layers = list(zip(self.arrays.weights[::2], self.arrays.weights[1::2], strict=True))
        self.load()

    @abstractmethod
    def load(self):
        """Make the model."""

    def set_weights(self):
        """Do nothing: the model has its weights."""

    def train(self, steps):
        raise NotImplementedError("this library does not train")

    def epoch(self):
        raise NotImplementedError("this library does not train")


def onnx_model(sizes: tuple[int, ...], layers: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Return the network as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "x"
    for i, (kernel, bias) in enumerate(layers):
        is_last = i == len(layers) - 1
        constants += [
            numpy_helper.from_array(np.ascontiguousarray(kernel), f"kernel_{i}"),
            numpy_helper.from_array(np.ascontiguousarray(bias), f"bias_{i}"),
        ]
        out = "y" if is_last else f"z_{i}"
        nodes.append(helper.make_node("Gemm", [last, f"kernel_{i}", f"bias_{i}"], [out]))
        last = out
        if not is_last:
            last = f"h_{i}"
            nodes.append(helper.make_node("Relu", [out], [last]))
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", kind, ["rows", sizes[0]])],
        [helper.make_tensor_value_info("y", kind, ["rows", sizes[-1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


class OnnxRuntime(Inference):
    """onnxruntime; its idle threads sleep."""

    spins = False

    def load(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "1" if self.spins else "0"
        )
        self.session = onnxruntime.InferenceSession(
            onnx_model(self.network.sizes, self.layers), options, ["CPUExecutionProvider"]
        )

    def predict(self, x) -> np.ndarray:
        return self.session.run(None, {"x": x})[0]


class SpinningOnnxRuntime(OnnxRuntime):
    """onnxruntime with its default: idle threads spin."""

    spins = True


class OpenVino(Inference):
    """OpenVINO, set to a low latency and float32."""

    def load(self):
        import openvino
        from openvino import properties
        from openvino.properties import hint

        core = openvino.Core()
        model = core.read_model(onnx_model(self.network.sizes, self.layers), b"")
        model.reshape([self.x.shape[0], self.network.sizes[0]])
        settings = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            hint.inference_precision: openvino.Type.f32,
            properties.inference_num_threads: threads(),
            properties.num_streams: 1,
        }
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()

    def predict(self, x) -> np.ndarray:
        return self.request.infer([x], share_inputs=True)[0]


class LiteRt(Inference):
    """LiteRT, formerly TensorFlow Lite, with its XNNPACK kernels."""

    def load(self):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(
            model_content=litert_model(len(self.x), self.network.sizes, self.layers),
            num_threads=threads(),
        )
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.output = self.interpreter.get_output_details()[0]["index"]

    def predict(self, x) -> np.ndarray:
        self.interpreter.set_tensor(self.input, x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output)


def litert_model(
    rows: int, sizes: tuple[int, ...], layers: list[tuple[np.ndarray, np.ndarray]]
) -> bytes:
    """Return the network as a file of LiteRT, for a number of rows."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph, buffers = schema.SubGraphT(), [schema.BufferT()]
    graph.tensors, graph.operators, graph.name = [], [], b"network"

    def tensor(name: str, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), shape, schema.TensorType.FLOAT32
        made.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(buffers)
            buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    last = tensor("x", (rows, sizes[0]))
    graph.inputs = [last]
    for i, ((kernel, bias), (_, outputs)) in enumerate(zip(layers, pairwise(sizes), strict=True)):
        options = schema.FullyConnectedOptionsT()
        is_last = i == len(layers) - 1
        kinds = schema.ActivationFunctionType
        options.fusedActivationFunction = kinds.NONE if is_last else kinds.RELU
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [
            last,
            tensor(f"kernel_{i}", (outputs, kernel.shape[0]), kernel.T),
            tensor(f"bias_{i}", (outputs,), bias),
        ]
        last = tensor(f"h_{i}", (rows, outputs))
        operator.outputs = [last]
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = options
        graph.operators.append(operator)
    graph.outputs = [last]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.description = buffers, b""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
