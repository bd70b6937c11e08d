"""Turn trained weights into an ONNX graph.

The graph takes a batch of left-padded rows and a key-value cache:

    ids        int64  (batch, time)
    positions  int64  (batch, time)             of each character in its own row, padding at 0
    mask       bool   (batch, 1, time, past + time)   true where a character may be looked at
    past_key_L, past_value_L      float (batch, heads, past, head_width)
    -> logits  float  (batch, VOCABULARY)       after the last character of each row
    -> present_key_L, present_value_L           the cache with ``time`` characters more

A graph with early exits also takes

    threshold  float  (1,)       how probable the next character must be to be taken at once
    finished   bool   (batch,)   rows that nobody waits for
    -> layers  int64  (1,)       how many layers were computed

Once all rows of a batch are sure, the layers that are left only extend the cache, by keys and values of what
each row was when it became sure. A row that is sure before the others keeps what it was.

Weights are stored in half precision, or in 8 bits, and widened when the session is made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from model import NORM_EPSILON, SHAPES, VOCABULARY, Block, Experts, Shape, Transformer, rope_table
from onnx import TensorProto, helper, numpy_helper

from joulemark.harness.alphabet import CONTEXT

OPSET = 23
MICROSOFT = "com.microsoft"


class Graph:
    """Nodes as they are added, and the weights of the whole; every method returns the name of its result."""

    def __init__(self, outside: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = outside.weights if outside else {}
        self._widened: set[str] = outside._widened if outside else set()
        self._outermost: Graph = outside._outermost if outside else self
        self.count = 0

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] | None = None, **settings: object) -> str:
        self._outermost.count += 1
        outputs = outputs or (f"{kind.lower()}_{self._outermost.count}",)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **settings))
        return outputs[0]

    def constant(self, name: str, values: list[int] | list[float]) -> str:
        kind = np.int64 if all(isinstance(value, int) for value in values) else np.float32
        self.weights[name] = numpy_helper.from_array(np.array(values, dtype=kind), name)
        return name

    def exact(self, name: str, values: torch.Tensor) -> str:
        self.weights[name] = numpy_helper.from_array(values.detach().float().numpy(), name)
        return name

    def weight(self, name: str, values: torch.Tensor) -> str:
        """A matrix kept in half precision."""
        if name not in self._widened:
            self._widened.add(name)
            half = f"{name}.half"
            self.weights[half] = numpy_helper.from_array(values.detach().half().numpy(), half)
            self._outermost.add("Cast", half, outputs=(name,), to=TensorProto.FLOAT)
        return name

    def norm(self, name: str, layer: torch.nn.RMSNorm, value: str) -> str:
        return self.add("RMSNormalization", value, self.exact(name, layer.weight), epsilon=NORM_EPSILON)

    def linear(self, name: str, weight: torch.Tensor, value: str) -> str:
        return self.add("MatMul", value, self.weight(name, weight.T.contiguous()))

    def heads(self, value: str) -> str:
        return self.add("Transpose", self.add("Reshape", value, "split_heads"), perm=[0, 2, 1, 3])


def build(model: Transformer) -> onnx.ModelProto:
    """The graph of a model."""
    shape, graph = model.shape, Graph()
    cos, sin = rope_table(CONTEXT, shape.head_width)
    graph.exact("cos", cos)
    graph.exact("sin", sin)
    graph.constant("split_heads", [0, 0, shape.heads, shape.head_width])
    graph.constant("join_heads", [0, 0, shape.width])
    graph.constant("last", [-1])
    graph.constant("time_axis", [1])
    embedding = graph.weight("embedding", model.embedding.weight)
    graph.add("Transpose", embedding, perm=[1, 0], outputs=("unembedding",))
    x = graph.add("Gather", embedding, "ids")
    if shape.exits:
        add_layers_with_exits(graph, model, x)
    else:
        for number, block in enumerate(model.blocks):
            x = add_block(graph, number, block, x)
        graph.add("Identity", add_head(graph, 0, model.norms[0], x), outputs=("logits",))
    return finish(graph, shape)


def add_block(graph: Graph, number: int, block: Block, x: str) -> str:
    """One layer; the cache's new part is its output as well."""
    qkv = graph.linear(
        f"qkv.{number}", block.qkv.weight, graph.norm(f"attention_norm.{number}", block.attention_norm, x)
    )
    parts = tuple(f"{part}.{number}" for part in "qkv")
    graph.add("Split", qkv, outputs=parts, axis=-1, num_outputs=3)
    q, k, v = (graph.heads(part) for part in parts)
    q, k = (graph.add("RotaryEmbedding", part, "cos", "sin", "positions") for part in (q, k))
    mixed = graph.add(
        "Attention", q, k, v, "mask", f"past_key_{number}", f"past_value_{number}",
        outputs=(f"mixed.{number}", *cache_names(graph, number)),
    )  # fmt: skip
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), "join_heads")
    x = graph.add("Add", x, graph.linear(f"out.{number}", block.out.weight, joined))
    normed = graph.norm(f"mlp_norm.{number}", block.mlp_norm, x)
    add_mlp = add_experts if isinstance(block.mlp, Experts) else add_feed_forward
    return graph.add("Add", x, add_mlp(graph, number, block.mlp, normed))


def cache_names(graph: Graph, number: int) -> tuple[str, str]:
    inside = "" if graph is graph._outermost else ".computed"
    return f"present_key_{number}{inside}", f"present_value_{number}{inside}"


def add_feed_forward(graph: Graph, number: int, mlp: torch.nn.Module, x: str) -> str:
    gate, up = f"gate.{number}", f"up.{number}"
    graph.add(
        "Split", graph.linear(f"gate_up.{number}", mlp.gate_up.weight, x), outputs=(gate, up), axis=-1, num_outputs=2
    )
    silu = graph.add("Mul", gate, graph.add("Sigmoid", gate))
    return graph.linear(f"down.{number}", mlp.down.weight, graph.add("Mul", silu, up))


def add_experts(graph: Graph, number: int, mlp: Experts, x: str) -> str:
    """onnxruntime's own kernel, which computes the chosen experts alone."""
    shape = mlp.shape
    flat = graph.add("Reshape", x, graph.constant("flat", [-1, shape.width]))
    routes = graph.linear(f"router.{number}", mlp.router.weight, flat)
    # Its gates and ups lie side by side, pair by pair.
    gate_up = mlp.gate_up.unflatten(1, (2, shape.hidden)).transpose(1, 2).flatten(1, 2).contiguous()
    first = graph.weight(f"gate_up.{number}", gate_up)
    second = graph.weight(f"down.{number}", mlp.down)
    return graph.add(
        "MoE", x, routes, first, "", second, domain=MICROSOFT, k=shape.chosen, normalize_routing_weights=1,
        activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0, swiglu_limit=float("inf"),
    )  # fmt: skip


def add_head(graph: Graph, number: int, norm: torch.nn.RMSNorm, x: str) -> str:
    """Logits ``(batch, VOCABULARY)`` after each row's last character."""
    last = graph.add("Squeeze", graph.add("Gather", x, "last", axis=1), "time_axis")
    return graph.add("MatMul", graph.norm(f"norm.{number}", norm, last), "unembedding")


def add_layers_with_exits(graph: Graph, model: Transformer, x: str) -> None:
    """The first layer, then each further one only if not all rows are sure."""
    graph.constant("one", [1])
    graph.constant("vocabulary_axis", [-1])
    x = add_block(graph, 0, model.blocks[0], x)
    logits = add_head(graph, 0, model.norms[0], x)
    layers = "one"
    sure = graph.add("Or", "finished", add_sure(graph, logits))
    for number in range(1, model.shape.layers):
        everybody = graph.add(
            "Cast",
            graph.add("ReduceMin", graph.add("Cast", sure, to=TensorProto.INT32), keepdims=0),
            to=TensorProto.BOOL,
        )
        last = number == model.shape.layers - 1
        outputs = (
            f"x.{number}",
            f"logits.{number}",
            f"sure.{number}",
            f"layers.{number}",
            f"present_key_{number}",
            f"present_value_{number}",
        )
        graph.add(
            "If", everybody, outputs=outputs,
            then_branch=skipped(graph, number, model.blocks[number], x, logits, sure, layers),
            else_branch=computed(graph, number, model, x, logits, sure, layers, last),
        )  # fmt: skip
        x, logits, sure, layers = outputs[:4]
    graph.add("Identity", logits, outputs=("logits",))
    graph.add("Identity", layers, outputs=("layers",))


def add_sure(graph: Graph, logits: str) -> str:
    probable = graph.add("ReduceMax", graph.add("Softmax", logits, axis=-1), "vocabulary_axis", keepdims=0)
    return graph.add("GreaterOrEqual", probable, "threshold")


def skipped(graph: Graph, number: int, block: Block, x: str, logits: str, sure: str, layers: str) -> onnx.GraphProto:
    """Only what later characters look at: keys and values."""
    inside = Graph(graph)
    shape = block.shape
    normed = inside.norm(f"attention_norm.{number}", block.attention_norm, x)
    # A part of what is kept already, cut out once when the session is made.
    for name, values in (("begin", [shape.width]), ("end", [3 * shape.width]), ("columns", [1])):
        graph.constant(name, values)
    whole = graph.weight(f"qkv.{number}", block.qkv.weight.T.contiguous())
    weights = graph.add("Slice", whole, "begin", "end", "columns")
    parts = tuple(f"{part}.{number}.alone" for part in "kv")
    inside.add("Split", inside.add("MatMul", normed, weights), outputs=parts, axis=-1, num_outputs=2)
    k, v = (inside.heads(part) for part in parts)
    k = inside.add("RotaryEmbedding", k, "cos", "sin", "positions")
    key = inside.add("Concat", f"past_key_{number}", k, axis=2)
    value = inside.add("Concat", f"past_value_{number}", v, axis=2)
    return branch(
        inside, "skipped", [inside.add("Identity", name) for name in (x, logits, sure, layers)] + [key, value]
    )


def computed(
    graph: Graph, number: int, model: Transformer, x: str, logits: str, sure: str, layers: str, last: bool
) -> onnx.GraphProto:
    """A whole layer; rows that are sure already stay what they were."""
    inside = Graph(graph)
    new = add_block(inside, number, model.blocks[number], x)
    new_logits = add_head(inside, number, model.norms[number], new)
    rows = inside.constant("row_axes", [1, 2])
    kept = inside.add("Where", inside.add("Unsqueeze", sure, rows), x, new)
    kept_logits = inside.add("Where", inside.add("Unsqueeze", sure, "time_axis"), logits, new_logits)
    now_sure = inside.add("Identity", sure) if last else inside.add("Or", sure, add_sure(inside, new_logits))
    count = inside.add("Add", layers, "one")
    return branch(inside, "computed", [kept, kept_logits, now_sure, count, *cache_names(inside, number)])


def branch(inside: Graph, name: str, outputs: list[str]) -> onnx.GraphProto:
    kinds = [
        TensorProto.FLOAT,
        TensorProto.FLOAT,
        TensorProto.BOOL,
        TensorProto.INT64,
        TensorProto.FLOAT,
        TensorProto.FLOAT,
    ]
    infos = [helper.make_tensor_value_info(output, kind, None) for output, kind in zip(outputs, kinds, strict=True)]
    return helper.make_graph(inside.nodes, name, [], infos)


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
    if shape.exits:
        inputs += [tensor("threshold", TensorProto.FLOAT, 1), tensor("finished", TensorProto.BOOL, "batch")]
        outputs.append(tensor("layers", TensorProto.INT64, 1))
    body = helper.make_graph(graph.nodes, "transformer", inputs, outputs, list(graph.weights.values()))
    opsets = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid(MICROSOFT, 1)] if shape.experts else [])
    whole = helper.make_model(body, opset_imports=opsets, producer_name="joulemark")
    whole.ir_version = 11
    onnx.checker.check_model(whole)
    return whole


def load(weights: Path, name: str) -> Transformer:
    """A trained model, its matrices rounded to the half precision that is shipped."""
    model = Transformer(SHAPES[name])
    model.load_state_dict(torch.load(weights, weights_only=True))
    return rounded(model)


def rounded(model: Transformer) -> Transformer:
    """The model with its matrices rounded to half precision."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.copy_(weight.half().float())
    return model.eval()
