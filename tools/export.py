"""Turn trained weights into an ONNX graph.

The graph takes a batch of left-padded rows and a key-value cache:

    ids        int64  (batch, time)
    positions  int64  (batch, time)             of each character in its own row, padding at 0
    mask       bool   (batch, 1, time, past + time)   true where a character may be looked at
    past_key_L, past_value_L      float (batch, heads, past, head_width)
    -> logits  float  (batch, VOCABULARY)       after the last character of each row
    -> present_key_L, present_value_L           the cache with ``time`` characters more

Weights are stored in half precision and widened when the session is made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from model import NORM_EPSILON, SHAPES, VOCABULARY, Dense, Shape, rope_table
from onnx import TensorProto, helper, numpy_helper

from joulemark.harness.reference import CONTEXT

OPSET = 23


class Graph:
    """Nodes and weights as they are added; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.count = 0

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] | None = None, **settings: object) -> str:
        self.count += 1
        outputs = outputs or (f"{kind.lower()}_{self.count}",)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **settings))
        return outputs[0]

    def integers(self, name: str, values: list[int]) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def weight(self, name: str, values: torch.Tensor, half: bool = True) -> str:
        if not half:
            self.weights.append(numpy_helper.from_array(values.detach().float().numpy(), name))
            return name
        self.weights.append(numpy_helper.from_array(values.detach().half().numpy(), f"{name}.half"))
        return self.add("Cast", f"{name}.half", outputs=(name,), to=TensorProto.FLOAT)


def build(model: Dense) -> onnx.ModelProto:
    """The graph of a dense model."""
    shape, graph = model.shape, Graph()
    cos, sin = rope_table(CONTEXT, shape.head_width)
    graph.weight("cos", cos, half=False)
    graph.weight("sin", sin, half=False)
    graph.integers("split_heads", [0, 0, shape.heads, shape.head_width])
    graph.integers("join_heads", [0, 0, shape.width])
    graph.integers("last", [-1])
    embedding = graph.weight("embedding", model.embedding.weight)
    x = graph.add("Gather", embedding, "ids")
    for number, block in enumerate(model.blocks):
        x = add_block(graph, number, block, x)
    x = graph.add("Gather", x, "last", axis=1)
    x = graph.add("RMSNormalization", x, graph.weight("norm", model.norm.weight, half=False), epsilon=NORM_EPSILON)
    x = graph.add("Squeeze", x, graph.integers("time_axis", [1]))
    graph.add("MatMul", x, graph.add("Transpose", embedding, perm=[1, 0]), outputs=("logits",))
    return finish(graph, shape)


def add_block(graph: Graph, number: int, block: torch.nn.Module, x: str) -> str:
    def linear(name: str, layer: torch.nn.Linear, value: str) -> str:
        return graph.add("MatMul", value, graph.weight(f"{name}.{number}", layer.weight.T.contiguous()))

    def norm(name: str, layer: torch.nn.RMSNorm, value: str) -> str:
        scale = graph.weight(f"{name}.{number}", layer.weight, half=False)
        return graph.add("RMSNormalization", value, scale, epsilon=NORM_EPSILON)

    def heads(value: str) -> str:
        split = graph.add("Reshape", value, "split_heads")
        return graph.add("Transpose", split, perm=[0, 2, 1, 3])

    qkv = linear("qkv", block.qkv, norm("attention_norm", block.attention_norm, x))
    parts = tuple(f"{part}.{number}" for part in "qkv")
    graph.add("Split", qkv, outputs=parts, axis=-1, num_outputs=3)
    q, k, v = (heads(part) for part in parts)
    q, k = (graph.add("RotaryEmbedding", part, "cos", "sin", "positions") for part in (q, k))
    mixed = graph.add(
        "Attention", q, k, v, "mask", f"past_key_{number}", f"past_value_{number}",
        outputs=(f"mixed.{number}", f"present_key_{number}", f"present_value_{number}"),
    )  # fmt: skip
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), "join_heads")
    x = graph.add("Add", x, linear("out", block.out, joined))
    gate_up = linear("gate_up", block.gate_up, norm("mlp_norm", block.mlp_norm, x))
    gate, up = f"gate.{number}", f"up.{number}"
    graph.add("Split", gate_up, outputs=(gate, up), axis=-1, num_outputs=2)
    silu = graph.add("Mul", gate, graph.add("Sigmoid", gate))
    return graph.add("Add", x, linear("down", block.down, graph.add("Mul", silu, up)))


def finish(graph: Graph, shape: Shape) -> onnx.ModelProto:
    def tensor(name: str, kind: int, *sizes: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, list(sizes))

    inputs = [
        tensor("ids", TensorProto.INT64, "batch", "time"),
        tensor("positions", TensorProto.INT64, "batch", "time"),
        tensor("mask", TensorProto.BOOL, "batch", 1, "time", "all"),
    ]
    outputs = [tensor("logits", TensorProto.FLOAT, "batch", VOCABULARY)]
    for number in range(shape.layers):
        for part in ("key", "value"):
            sizes = ("batch", shape.heads, "past", shape.head_width)
            inputs.append(tensor(f"past_{part}_{number}", TensorProto.FLOAT, *sizes))
            sizes = ("batch", shape.heads, "all", shape.head_width)
            outputs.append(tensor(f"present_{part}_{number}", TensorProto.FLOAT, *sizes))
    body = helper.make_graph(graph.nodes, "dense", inputs, outputs, graph.weights)
    whole = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="joulemark")
    whole.ir_version = 11
    onnx.checker.check_model(whole)
    return whole


def load(weights: Path, name: str) -> Dense:
    """A trained model, its matrices rounded to the half precision that is shipped."""
    model = Dense(SHAPES[name])
    model.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.copy_(weight.half().float())
    return model.eval()
