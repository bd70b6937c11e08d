"""Small models and tasks, made in seconds and offline, that lm-eval's ``hf`` loads as it does any other.

The models know sums of two digits and how to count, as far as a few seconds of training taught them: right often
enough for scores to differ, wrong often enough too. The same seed gives the same weights.
"""

from __future__ import annotations

import functools
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CONTEXT", "TASKS", "make_model", "make_seq2seq", "make_tasks"]

CONTEXT = 96
"""Tokens that the models read at most."""

_SPECIALS = ("<pad>", "<end>", "<user>", "<bot>")
_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<user>' + message['content'] }}"
    "{% else %}{{ '<bot>' + message['content'] + '<end>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<bot>' }}{% endif %}"
)
_SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "use_cache": True,
}
_STEPS = {"llama": 160, "mixtral": 200}
_ROWS, _LENGTH = 24, 40


def make_model(kind: str, folder: Path, seed: int = 0) -> Path:
    """Put a model into a folder that ``pretrained=`` takes.

    Args:
        kind: ``llama`` or ``mixtral``.
        folder: Where to; it must not be there yet.
        seed: Of the weights and what they were trained on.
    """
    shutil.copytree(_trained(kind, seed), folder)
    return folder


def make_seq2seq(folder: Path, seed: int = 0) -> Path:
    """The same of a T5-shaped encoder and decoder, which knows nothing."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokens = _tokenizer()
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokens), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0,
        pad_token_id=tokens.pad_token_id, eos_token_id=tokens.eos_token_id,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@functools.cache
def _trained(kind: str, seed: int) -> Path:
    """Trained once a process; copies are cheap."""
    import torch

    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tokens = _tokenizer()
    model = _untrained(kind, tokens, seed)
    _train(model, tokens, seed, _STEPS[kind])
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """Byte pairs, each digit by itself, learned from the models' own little world."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, special_tokens=list(_SPECIALS), initial_alphabet=alphabet)
    tokenizer.train_from_iterator([_page(random.Random(0)) for _ in range(50)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = _TEMPLATE
    return fast


def _untrained(kind: str, tokens: Any, seed: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(seed)
    ids = {"pad_token_id": tokens.pad_token_id, "eos_token_id": tokens.eos_token_id, "bos_token_id": None}
    shape = _SHAPE | ids | {"vocab_size": len(tokens)}
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape))
    return MixtralForCausalLM(MixtralConfig(**shape, num_local_experts=4, num_experts_per_tok=2))


def _train(model: Any, tokens: Any, seed: int, steps: int) -> None:
    import torch

    draw = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1.0, 2 * (1 - step / steps))
        pages = [tokens.encode(_page(draw))[:_LENGTH] for _ in range(_ROWS)]
        width = max(map(len, pages))
        ids = torch.tensor([page + [0] * (width - len(page)) for page in pages])
        model(input_ids=ids, attention_mask=(ids != 0).long(), labels=ids.masked_fill(ids == 0, -100)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _page(draw: random.Random) -> str:
    """Some lines, as plain text or as a chat."""
    lines = [_line(draw) for _ in range(8)]
    if draw.random() < 0.5:
        first = draw.choice(["", "Add up.\n"])
        return first + "".join(f"<user>{asked}<bot>{answer}<end>" for asked, answer in lines)
    return "\n".join(asked + answer for asked, answer in lines) + "\n<end>"


def _line(draw: random.Random) -> tuple[str, str]:
    if draw.random() < 0.6:
        one, other = draw.randint(0, 6), draw.randint(0, 6)
        return f"{one}+{other}=", f"{one + other}."
    last = draw.randint(1, 9)
    return f"to {last}:", "".join(map(str, range(1, last + 1))) + "."


def make_tasks(folder: Path) -> Path:
    """Put the tasks into a folder that ``--include-path`` takes."""
    folder.mkdir(parents=True)
    for name, text in TASKS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _choice(name: str, family: str, more: Sequence[str] = ()) -> str:
    lines = (
        f"task: {name}",
        "output_type: multiple_choice",
        "custom_dataset: !function questions.load",
        f"dataset_kwargs: {{family: {family}}}",
        "test_split: test",
        "fewshot_split: fewshot",
        "doc_to_text: prompt",
        "doc_to_choice: choices",
        "doc_to_target: gold",
        'target_delimiter: ""',
        'fewshot_delimiter: "\\n"',
        *more,
    )
    return "\n".join(lines) + "\n"


TASKS = {
    "questions.py": '''"""The questions of these tasks."""

import datasets


def load(family, **_):
    """Test questions, and some to show as examples."""
    make = globals()[family]
    return {"test": datasets.Dataset.from_list(make(0)), "fewshot": datasets.Dataset.from_list(make(1))}


def sums(part):
    """Every second sum; one of them is asked twice."""
    pairs = [(a, b) for a in range(7) for b in range(7)][part::2]
    found = [{"prompt": f"{a}+{b}=", "answer": f"{a + b}."} for a, b in pairs]
    return [*found[:20], found[3]] if part == 0 else found


def counts(part):
    return [{"prompt": f"to {n}:", "answer": "".join(map(str, range(1, n + 1)))} for n in range(1 + part, 10 - part)]


def picks(part):
    """Answers of one token, and of two where the sum has two digits."""
    found = []
    for at, (a, b) in enumerate([(a, b) for a in range(7) for b in range(7)][part::3]):
        choices = [str(a + b), str(a + b + 1), str(abs(a + b - 2)), "10"]
        gold = at % 4
        choices[0], choices[gold] = choices[gold], choices[0]
        found.append({"prompt": f"{a}+{b}=", "choices": choices, "gold": gold})
    return found


def odd(part, first=1):
    """Of few questions, each with a wrong answer that is near."""
    found = []
    for at, n in enumerate(range(first - part, 7, 2)):
        choices = [str(n), str(n + 1)]
        found.append({"prompt": f"{n}+0=", "choices": choices[:: (1, -1)[at % 2]], "gold": at % 2})
    return found


def even(part):
    return odd(part, first=2)


def texts(part):
    page = "".join(f"{a}+{b}={a + b}.\\n" for a in range(7) for b in range(7))
    return [{"text": page[at : at + size]} for at, size in ((0, 20), (3, 150), (40, 41), (0, 400), (0, 20))]


def all_answers(doc, results):
    return {"exact_match": float(results[0] == doc["answer"][:-1]), "long": float(len(results[0]) > 1)}
''',
    "_generate": """output_type: generate_until
custom_dataset: !function questions.load
test_split: test
fewshot_split: fewshot
doc_to_text: prompt
doc_to_target: answer
target_delimiter: ""
fewshot_delimiter: "\\n"
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
""",
    "tiny_sums.yaml": """include: _generate
task: tiny_sums
tag: tiny_some
dataset_kwargs: {family: sums}
generation_kwargs: {until: ["\\n", "<end>"], do_sample: false, max_gen_toks: 6}
""",
    "tiny_sums_shown.yaml": """include: tiny_sums.yaml
task: tiny_sums_shown
tag: []
num_fewshot: 2
""",
    "tiny_sums_bare.yaml": """include: tiny_sums.yaml
task: tiny_sums_bare
tag: []
num_fewshot: 0
""",
    "tiny_counts.yaml": """include: _generate
task: tiny_counts
tag: tiny_some
dataset_kwargs: {family: counts}
generation_kwargs: {until: ["."], do_sample: false, max_gen_toks: 5}
""",
    "tiny_drawn.yaml": """include: _generate
task: tiny_drawn
dataset_kwargs: {family: sums}
repeats: 3
generation_kwargs: {until: ["\\n", "."], do_sample: true, temperature: 1.5, max_gen_toks: 4}
process_results: !function questions.all_answers
filter_list:
  - name: first
    filter: [{function: take_first}]
""",
    "tiny_picks.yaml": _choice("tiny_picks", "picks"),
    "tiny_odd.yaml": _choice("tiny_odd", "odd"),
    "tiny_even.yaml": _choice("tiny_even", "even"),
    "tiny_f1.yaml": _choice(
        "tiny_f1", "odd", ("metric_list:", "  - {metric: f1, aggregation: f1, higher_is_better: true}")
    ),
    "tiny_texts.yaml": """task: tiny_texts
output_type: loglikelihood_rolling
custom_dataset: !function questions.load
dataset_kwargs: {family: texts}
test_split: test
doc_to_text: ""
doc_to_target: text
metric_list:
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
""",
    "tiny_group.yaml": """group: tiny_group
task: [tiny_picks, tiny_odd]
aggregate_metric_list:
  - {metric: acc, weight_by_size: true}
metadata: {version: 2.0}
""",
    "tiny_nested.yaml": """group: tiny_nested
task:
  - tiny_group
  - group: more
    task: [tiny_even]
aggregate_metric_list:
  - {metric: acc, weight_by_size: true}
""",
    "tiny_loose.yaml": "group: tiny_loose\ntask: [tiny_counts, tiny_odd]\n",
}
"""Files of the folder with the tasks, by name."""
