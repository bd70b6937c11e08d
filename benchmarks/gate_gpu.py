"""What the gate says on a GPU: a model against itself, and against the same model with layers that change nothing.

    python benchmarks/gate_gpu.py FOLDER [--layers 24] [--width 2048]

The model has random weights (1.6 billion parameters as it stands) and reads 128 prompts of some 730 words, so that the
card is what takes the time; its quality is a guesser's, and only energy is judged. The candidate has a sixth more
layers, whose output is zero: the same answers for some 13 % more energy. Both are measured beside a second copy of the
baseline, 6 repeats in abba order; takes six minutes. Needs the extra `hf`, and torch that sees a card; without one it
measures the CPU, where a small model, such as ``--layers 6 --width 64``, does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

JOULEMARK = (sys.executable, "-m", "joulemark.harness.cli")
WORDS, SPECIALS = 4000, {"<pad>": 0, "<end>": 1, "<unk>": 2}
ASKED = ("--limit", "128", "--batch-size", "32", "--dtype", "bfloat16", "--order", "abba", "--repeats", "6")
RULES = '[gate]\nmax_increase = "5%"\nmax_drop = false\n'

QUESTIONS = f"""
import random

import datasets


def load(**_):
    draw = random.Random(0)

    def words(many):
        return " ".join(f"w{{draw.randrange({WORDS})}}" for _ in range(many))

    rows = [
        {{"q": words(700 + 10 * (i % 7)), "c": [" " + words(1), " " + words(1)], "g": draw.randrange(2)}}
        for i in range(400)
    ]
    return {{"test": datasets.Dataset.from_list(rows)}}
"""
TASK = """
task: long_prompts
output_type: multiple_choice
custom_dataset: !function questions.load
test_split: test
doc_to_text: q
doc_to_choice: c
doc_to_target: g
target_delimiter: ""
"""


def main() -> int:
    """Make models and task where they are missing, measure, and gate twice."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--layers", type=int, default=24)
    options.add_argument("--width", type=int, default=2048)
    given = options.parse_args()
    folder: Path = given.folder
    if not (folder / "dear").exists():
        make_models(folder, given.layers, given.width)
    make_task(folder / "tasks")
    (folder / "gate.toml").write_text(RULES, encoding="utf-8")
    named = {"base": "base", "same": "base", "dear": "dear"}
    asked = [part for name, of in named.items() for part in ("-m", f"{name}=hf:pretrained={folder / of}")]
    asked += ["-t", "long_prompts", "--include-path", str(folder / "tasks"), *ASKED, "--out", str(folder / "run")]
    subprocess.run([*JOULEMARK, "run", *asked], check=True)
    codes = [gate(folder, candidate) for candidate in ("same", "dear")]
    return 0 if codes == [0, 1] else 1


def make_models(folder: Path, layers: int, width: int) -> None:
    """The baseline, and a copy with a sixth more layers that add nothing to what passes through them."""
    words = SPECIALS | {f"w{number}": len(SPECIALS) + number for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>")
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        base, dear = (llama(many, width, len(words)) for many in (layers, layers + max(1, round(layers / 6))))
    state = dear.state_dict() | dict(base.state_dict())
    for name, tensor in state.items():
        if name not in base.state_dict() and name.endswith(("o_proj.weight", "down_proj.weight")):
            state[name] = torch.zeros_like(tensor)
    dear.load_state_dict(state)
    for model, name in ((base, "base"), (dear, "dear")):
        model.save_pretrained(folder / name)
        fast.save_pretrained(folder / name)


def llama(layers: int, width: int, words: int) -> LlamaForCausalLM:
    """A Llama of random weights."""
    config = LlamaConfig(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=4 * width, num_attention_heads=16,
        num_key_value_heads=16, max_position_embeddings=2048, vocab_size=words, pad_token_id=0, eos_token_id=1,
        bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def make_task(folder: Path) -> None:
    """Two choices after a long prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "questions.py").write_text(QUESTIONS, encoding="utf-8")
    (folder / "long.yaml").write_text(TASK, encoding="utf-8")


def gate(folder: Path, candidate: str) -> int:
    """The exit code of one gate, whose table it prints."""
    run = folder / "run"
    sides = ("--baseline", f"{run}:base", "--candidate", f"{run}:{candidate}", "--config", folder / "gate.toml")
    return subprocess.run([*JOULEMARK, "gate", *sides], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
