"""An exported graph with its matrices in 8 bits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def in_eight_bits(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Weights in 8 bits a channel, activations quantised as they come: onnxruntime's dynamic quantisation."""
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        onnx.save(_widened(graph), whole)
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"])
        return onnx.load(small)


def _widened(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with single precision weights in place of half ones and their casts."""
    whole = onnx.ModelProto()
    whole.CopyFrom(graph)
    weights = {weight.name: weight for weight in whole.graph.initializer}
    nodes = []
    for node in whole.graph.node:
        if node.op_type == "Cast" and node.input[0] in weights:
            values = numpy_helper.to_array(weights.pop(node.input[0])).astype(np.float32)
            weights[node.output[0]] = numpy_helper.from_array(values, node.output[0])
        else:
            nodes.append(node)
    del whole.graph.node[:], whole.graph.initializer[:]
    whole.graph.node.extend(nodes)
    whole.graph.initializer.extend(weights.values())
    return whole
