"""The same local model through lm-eval's own command line and through ours: CPU time of the request window.

    python benchmarks/parity.py [ROUNDS [PART]]

First what the watch weighs: the model's own ``generate_until`` and ``loglikelihood`` with and without it, in one
process, in turn, pass by pass. Then whole commands, in turn, with a tiny model and a larger one (0.1 and 1.3 million
parameters; what we add to a forward is the same for any): lm-eval's is timed from outside, around the calls of its
model; ours between the moments at which the meters are read, loops divided out. lm-eval's command asks each request
once, cold; that is told, and the comparison is with the same call made again, as ours is made after a warm-up. Prints
ratios with 95 % intervals, of the parts whose name (watch, llama, larger) begins with PART; exit code 1 where all of
one lies above 1.02.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

LIMIT = 1.02
LOADS, PASSES = 12, 16
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

QUESTIONS = '''import random

import datasets


def load(kind, **_):
    """Sums after some others, so that prompts differ in length."""
    draw = random.Random(0)
    rows = []
    for number in range(720):
        facts = "".join(f"{a}+{b}={a + b}.\\n" for a, b in zip(draw.choices(range(7), k=number % 8), range(7)))
        a, b = draw.randint(0, 6), draw.randint(0, 6)
        choices = [f"{a + b}.", "12.", "0"]
        rows.append({"prompt": f"{facts}{a}+{b}=", "answer": choices[0], "choices": choices, "gold": 0})
    return {"test": datasets.Dataset.from_list(rows)}
'''

TASK = """task: {name}
output_type: {kind}
custom_dataset: !function questions.load
dataset_kwargs: {{kind: all}}
test_split: test
doc_to_text: prompt
target_delimiter: ""
num_fewshot: 0
{more}
"""

MORE = {
    "generate_until": """doc_to_target: answer
generation_kwargs: {until: ["#"], do_sample: false, max_gen_toks: 12}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]""",
    "multiple_choice": """doc_to_target: gold
doc_to_choice: choices
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]""",
}

TIMER = '''"""Times lm-eval's and our own request windows from outside, by the CPU clock of the process."""

import importlib.util
import json
import os
import sys
import time


def note(seconds):
    with open(os.environ["WINDOWS"], "a") as file:
        file.write(json.dumps(seconds) + "\\n")


def time_models(module):
    for name in ("generate_until", "loglikelihood"):
        setattr(module.HFLM, name, timed(getattr(module.HFLM, name)))


def timed(call):
    def inner(*args, **settings):
        clock = [time.process_time()]
        given = call(*args, **settings)
        clock.append(time.process_time())
        for _ in range(3):
            call(*args, **settings)
        clock.append(time.process_time())
        note([clock[1] - clock[0], (clock[2] - clock[1]) / 3])
        return given

    return inner


class Timed:
    def __init__(self, meter):
        self.meter = meter

    def start(self, part):
        self.meter.start(part)
        self.part, self.began = part, time.process_time()

    def stop(self):
        seconds = time.process_time() - self.began
        if self.part == "requests":
            note([None, seconds])
        self.meter.stop()


def time_meters(module):
    make = module.MeteredLM.__init__
    module.MeteredLM.__init__ = lambda self, lm, watch, meter, length: make(self, lm, watch, Timed(meter), length)


def without_its_own_index(module):
    make = module.TaskManager.__init__
    module.TaskManager.__init__ = lambda self, *args, **how: make(self, *args, **{**how, "include_defaults": False})


AFTER = {
    "lm_eval.models.huggingface": time_models,
    "lm_eval.tasks.manager": without_its_own_index,
} if os.environ.get("WHOSE") == "theirs" else {"joulemark.tasks.metered": time_meters}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in AFTER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        run = spec.loader.exec_module

        def run_and_patch(module):
            run(module)
            AFTER[name](module)

        spec.loader.exec_module = run_and_patch
        return spec


sys.meta_path.insert(0, Finder())
'''


def main() -> int:
    """Both parts; 1 where one of them is surely above the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    os.environ.update(THREADS | QUIET)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder)
        parts = {f"watch, {kind}": partial(_weigh_watch, folder, "llama", kind) for kind in MORE}
        parts["watch, larger"] = partial(_weigh_watch, folder, "larger", "generate_until")
        parts |= {f"llama, {kind}": partial(_compare_commands, folder, "llama", kind, rounds) for kind in MORE}
        parts["larger"] = partial(_compare_commands, folder, "larger", "generate_until", rounds)
        within = [part() for name, part in parts.items() if name.startswith(only)]
    return 0 if all(within) else 1


def _make(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import tiny

    tiny.make_model("llama", folder / "llama")
    _enlarge(folder / "llama", folder / "larger")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "questions.py").write_text(QUESTIONS)
    for kind, more in MORE.items():
        (folder / "tasks" / f"{kind}.yaml").write_text(TASK.format(name=kind, kind=kind, more=more))
    (folder / "patch").mkdir()
    (folder / "patch" / "sitecustomize.py").write_text(TIMER)


def _enlarge(small: Path, folder: Path) -> None:
    """The same shape with more in it, and weights as they come: it answers nothing right, and as long as it may."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    wider = {"hidden_size": 160, "intermediate_size": 480, "num_hidden_layers": 4, "num_attention_heads": 8}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig.from_pretrained(small, **wider, head_dim=20)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(small).save_pretrained(folder)


def _weigh_watch(folder: Path, model: str, kind: str) -> bool:
    """The same passes with and without the watch, in turn; of models loaded anew, since two loads differ as well."""
    from joulemark.tasks import lmeval

    task = lmeval.load_task(kind, include=[str(folder / "tasks")]).tasks[kind]
    task.build_all_requests(limit=48, rank=0, world_size=1)
    ratios = [_watch_ratio(folder / model, list(task.instances), at) for at in range(LOADS)]
    return _tell(f"watch / none, {model}, {kind}", ratios)


def _watch_ratio(folder: Path, requests: list[Any], number: int) -> float:
    """Log of the CPU time with the watch over that without; of the middle one of some pairs of passes."""
    from joulemark.tasks import lmmodels
    from joulemark.tasks.watch import TorchWatch

    loaded = [lmmodels.load_model("hf", f"pretrained={folder},device=cpu") for _ in range(2)]
    bare, watched = loaded if number % 2 else loaded[::-1]
    watch = TorchWatch(watched)
    for lm in loaded:
        lmmodels.set_pace(lm, watch, batch_size=8, concurrency=1)

    def ask(lm: Any) -> Any:
        return getattr(lm, requests[0].request_type)(requests, disable_tqdm=True)

    def noted() -> None:
        watch.begin()
        ask(watched)
        watch.end()

    logs = []
    for at in range(-2, PASSES):
        seconds = dict.fromkeys((True, False) if at % 2 else (False, True), 0.0)
        for is_watched in seconds:
            seconds[is_watched] = _cpu_s(noted if is_watched else lambda: ask(bare))
        logs.append(np.log(seconds[True] / seconds[False]))
        watch.answers(requests, ask(bare))
    return float(np.median(logs[2:]))


def _cpu_s(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _compare_commands(folder: Path, model: str, kind: str, rounds: int) -> bool:
    ratios = []
    for number in range(rounds):
        order = ("ours", "theirs") if number % 2 else ("theirs", "ours")
        outs = {whose: folder / f"{model}-{kind}-{whose}-{number}" for whose in order}
        found = {whose: _window_s(folder, model, kind, whose, outs[whose]) for whose in order}
        (_, ours), (cold, theirs) = found["ours"], found["theirs"]
        ratios.append(np.log(ours / theirs))
        print(
            f"  {model}, {kind}: ours {ours:.4f} s, lm-eval's {theirs:.4f} s (its first, cold: {cold:.4f} s)",
            flush=True,
        )
    return _tell(f"ours / lm-eval's command, {model}, {kind}", ratios)


def _window_s(folder: Path, model: str, kind: str, whose: str, out: Path) -> tuple[float, float]:
    """CPU seconds of all requests once: cold, which ours never is, and warm."""
    if whose == "ours":
        command = [
            sys.executable, "-m", "joulemark.harness.cli", "run", "-m", f"it=hf:pretrained={folder}/{model},device=cpu",
            "-t", kind, "--include-path", str(folder / "tasks"), "--batch-size", "8", "--repeats", "1",
            "--preset", "full", "--meter", "modelled", "--out", str(out),
        ]  # fmt: skip
    else:
        command = [
            sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={folder}/{model}",
            "--device", "cpu", "--tasks", kind, "--include_path", str(folder / "tasks"), "--batch_size", "8",
        ]  # fmt: skip
    windows = out.with_suffix(".jsonl")
    environment = os.environ | {"PYTHONPATH": str(folder / "patch"), "WINDOWS": str(windows), "WHOSE": whose}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    [(cold, warm)] = [json.loads(line) for line in windows.read_text().splitlines()]
    return (0.0, warm / _loops(out)) if whose == "ours" else (cold, warm)


def _loops(out: Path) -> int:
    from joulemark.harness.store import read_run

    [cell] = read_run(out).cells
    assert cell.energy is not None
    return cell.energy.loops


def _tell(what: str, logs: list[float]) -> bool:
    """The middle ratio, with the interval that order alone gives: some rounds have company that no mean bears."""
    rank = max(int(stats.binom.ppf(0.025, len(logs), 0.5)), 1)
    low, ratio, high = (float(np.exp(x)) for x in (sorted(logs)[rank - 1], np.median(logs), sorted(logs)[-rank]))
    verdict = "within 2 %" if high <= LIMIT else "above 2 %" if low > LIMIT else "not told apart from 2 %"
    print(f"{what:50} {ratio:.4f} (95 % {low:.4f} to {high:.4f}): {verdict}", flush=True)
    return low <= LIMIT


if __name__ == "__main__":
    sys.exit(main())
