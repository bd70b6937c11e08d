"""llama.cpp's own server on loopback, with one of the reference models; as a script: ``llamacpp.py GGUF PORT``."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LlamaCpp", "free_port", "llama_cpp", "write_gguf"]

SLOTS = 8
"""Requests that the server answers at once."""

_CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A chat is nothing but what was said: the reference models know no roles."""


@dataclass(frozen=True)
class LlamaCpp:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def args(self, *, chat: bool = False) -> str:
        """What lm-eval is told of it."""
        path = "chat/completions" if chat else "completions"
        return f"model=tiny,base_url={self.root}/v1/{path},tokenizer_backend=None"


@contextmanager
def llama_cpp(gguf: Path, port: int | None = None) -> Iterator[LlamaCpp]:
    """A server in a process of its own, once it answers."""
    port = port or free_port()
    process = subprocess.Popen([sys.executable, __file__, str(gguf), str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield LlamaCpp(process, port)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def write_gguf(name: str, path: Path, *, begins: bool = False) -> Path:
    """A dense reference model's weights as llama.cpp reads them; its vocabulary is single characters.

    Where a text ``begins`` with a token of its own, the model has to do with what it never saw.
    """
    import gguf

    from joulemark.harness.models import card

    shape: dict[str, Any] = card(name)["shape"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(192)
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["hidden"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["heads"])
    writer.add_rope_dimension_count(shape["width"] // shape["heads"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_characters(writer)
    writer.add_add_bos_token(begins)
    for tensor, values in _tensors(name, shape).items():
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_characters(writer: Any) -> None:
    """Byte-level tokens that never merge: 0 ends a text, then the alphabet, then one that is never used."""
    from joulemark.harness.alphabet import ALPHABET

    # GPT-2's spelling of bytes: a space and a newline are letters of their own.
    spelled = [character.translate({ord(" "): "Ġ", ord("\n"): "Ċ"}) for character in ALPHABET]
    tokens = ["<end>", *spelled, *(f"<unused-{n}>" for n in range(63 - len(spelled)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    # 3: control, 1: normal, 5: unused.
    writer.add_token_types([3, *(1 for _ in spelled), *(5 for _ in range(63 - len(spelled)))])
    writer.add_token_merges(["Ä Ä"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template(_CHAT)


def _tensors(name: str, shape: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from joulemark.harness.models import ZOO

    graph = onnx.load(ZOO / f"{name}.onnx").graph
    weights = {
        each.name.removesuffix(".half"): numpy_helper.to_array(each).astype(np.float32) for each in graph.initializer
    }
    found = {"token_embd.weight": weights["embedding"], "output_norm.weight": weights["norm.0"]}
    for number in range(shape["layers"]):
        q, k, v = np.split(weights[f"qkv.{number}"].T, 3)
        gate, up = np.split(weights[f"gate_up.{number}"].T, 2)
        found |= {
            f"blk.{number}.{part}.weight": np.ascontiguousarray(values)
            for part, values in {
                "attn_norm": weights[f"attention_norm.{number}"],
                "attn_q": _interleaved(q, shape["heads"]),
                "attn_k": _interleaved(k, shape["heads"]),
                "attn_v": v,
                "attn_output": weights[f"out.{number}"].T,
                "ffn_norm": weights[f"mlp_norm.{number}"],
                "ffn_gate": gate,
                "ffn_up": up,
                "ffn_down": weights[f"down.{number}"].T,
            }.items()
        }
    return found


def _interleaved(matrix: Any, heads: int) -> Any:
    """Rows in the order of llama.cpp's rotary positions: pairs side by side, where ours are halves."""
    rows, width = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def _serve(gguf: str, port: int) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.n_ctx = 192 * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 2 * SLOTS
    params.warmup = False
    params.use_jinja = True
    params.hostnames = ["127.0.0.1"]
    params.port = port
    server = xllamacpp.Server(params)
    print(json.dumps({"at": server.listening_address}), flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
