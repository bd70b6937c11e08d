"""Real lm-eval, with a model that knows some of the answers."""

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM

from joulemark.harness.alphabet import CONTEXT
from joulemark.meters.errors import UsageError
from joulemark.tasks import lmeval, lmmodels, reference
from joulemark.tasks.catalog import REFERENCE_TASKS, THREE_SHOT, TaskCard
from joulemark.tasks.types import Answer, Asking, Part, TaskResult

ROWS = [
    json.loads(line)
    for path in (Path(reference.__file__).parent / "data").glob("*.jsonl")
    for line in path.read_text().splitlines()
]
QUESTIONS = {row["prompt"]: row["answer"] for row in ROWS}
ASKED = {row["prompt"] for row in ROWS if row["split"] == "test"}
EXAMPLES = {row["prompt"] + row["answer"]: row["prompt"] for row in ROWS if row["split"] == "fewshot"}


def known(prompt: str) -> str:
    """The answer to a prompt's question, which a warm-up puts a letter before."""
    question = prompt.split("\n")[-1]
    return QUESTIONS[question if question in QUESTIONS else question[1:]]


class Half:
    """An engine that answers every second question rightly, and counts its calls."""

    prefill_s = decode_s = 0.0
    batch_size = 8

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.prompts: list[list[str]] = []
        self.knows_all = False
        self.max_tokens = 0

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        assert list(until) == ["\n"]
        self.max_tokens = max_tokens
        self.calls.append(len(prompts))
        self.prompts.append(list(prompts))
        return [
            Answer(
                text=known(prompt) if at % 2 or self.knows_all else "wrong",
                prompt_tokens=len(prompt),
                generated_tokens=3,
                computed_tokens=len(prompt) + max_tokens,
                latency_s=0.001 * at,
                truncated=False,
            )
            for at, prompt in enumerate(prompts)
        ]


class Noting:
    """A meter that notes how many calls the model had got when requests began and ended, and what for."""

    def __init__(self, engine: Half) -> None:
        self.engine, self.parts = engine, []
        self.seen: list[int] = []

    def start(self, part: Part) -> None:
        self.parts.append(part)
        self.seen.append(len(self.engine.calls))

    def stop(self) -> None:
        self.seen.append(len(self.engine.calls))


@pytest.fixture
def engine() -> Half:
    return Half()


def ask(engine: Half, task: str = "jm_addition", window_s: float = 0.0, **how: Any) -> tuple[TaskResult, Noting]:
    meter, lm = Noting(engine), lmmodels.EngineLM(engine)
    question = lmeval.load_task(task)
    result = lmeval.ask(lm, lmmodels.watch_of(lm), question, meter, window_s=window_s, how=Asking(**how))
    return result, meter


def test_the_score_is_lm_evals_and_quality_is_adjusted_for_chance(engine: Half) -> None:
    result, _ = ask(engine)
    assert result.accuracy == 0.5
    assert 0 < result.chance < 0.05
    assert result.quality == pytest.approx(100 * (0.5 - result.chance) / (1 - result.chance))
    assert sum(item.score for item in result.items) == 150


def test_the_meter_runs_during_requests_only_and_after_a_warm_up(engine: Half) -> None:
    _, meter = ask(engine)
    assert meter.parts == ["warm_up", "requests"]
    began, warm, opened, ended = meter.seen
    assert began == 0 < warm == opened == ended - 1
    assert set(engine.calls[:warm]) == {8}
    assert engine.calls[warm:] == [300]


def test_a_short_request_set_is_repeated_until_the_window_is_long_enough(engine: Half) -> None:
    result, meter = ask(engine, window_s=0.05)
    assert result.passes.loops == meter.seen[3] - meter.seen[2] > 1
    assert sum(result.passes.seconds) >= 0.05
    assert result.accuracy == 0.5


def test_items_carry_what_each_question_took(engine: Half) -> None:
    result, _ = ask(engine, limit=8)
    assert [item.level for item in result.items] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert [item.latency_s for item in result.items] == pytest.approx([0.001 * at for at in range(8)])
    assert len({item.doc_hash for item in result.items}) == 8


def test_examples_are_the_same_in_every_repeat(engine: Half) -> None:
    first, _ = ask(engine, "jm_units", limit=20, num_fewshot=3)
    again, _ = ask(engine, "jm_units", limit=20, num_fewshot=3)
    assert [item.prompt_tokens for item in first.items] == [item.prompt_tokens for item in again.items]
    assert min(item.prompt_tokens for item in first.items) > 40


def test_the_hash_of_a_task_depends_on_what_is_asked_and_not_on_how_much_of_it(engine: Half) -> None:
    whole, _ = ask(engine)
    part, _ = ask(engine, limit=10)
    other, _ = ask(engine, task="jm_dates")
    assert whole.hash == part.hash != other.hash


def test_chance_and_hash_are_the_same_whatever_part_is_asked_and_in_whichever_process(engine: Half) -> None:
    whole, _ = ask(engine, task="jm_brackets")
    part, _ = ask(engine, task="jm_brackets", limit=2)
    assert part.chance == whole.chance < 0.1
    script = (
        "from joulemark.tasks import lmeval\n"
        "print(lmeval.task_hash(lmeval.load_task('jm_brackets').tasks['jm_brackets']))"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] == whole.hash


def test_functions_in_a_task_count_by_what_they_do_and_not_by_where_they_lie() -> None:
    assert lmeval._stable(ask) == inspect.getsource(ask)
    assert " at 0x" not in lmeval._stable(Half().generate)
    assert " at 0x" not in lmeval._stable(object())


def test_the_warm_up_asks_nothing_that_is_asked_in_the_window(engine: Half) -> None:
    ask(engine, limit=20)
    *warm_ups, asked = engine.prompts
    assert not set().union(*warm_ups) & set(asked)


class Remembers(LM):
    """A model with a cache across requests: slow the first time, quick ever after."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[str] = set()

    def generate_until(self, requests: list[Any]) -> list[str]:
        for request in requests:
            if request.args[0] not in self.known:
                time.sleep(0.002)
            self.known.add(request.args[0])
        return ["?"] * len(requests)

    def loglikelihood(self, requests: list[Any]) -> None: ...

    def loglikelihood_rolling(self, requests: list[Any]) -> None: ...


def test_a_model_that_answers_later_passes_from_a_cache_is_found_out(engine: Half) -> None:
    lm, task, how = Remembers(), lmeval.load_task("jm_units"), Asking(limit=20)
    assert lmeval.ask(lm, lmmodels.watch_of(lm), task, Noting(engine), window_s=0.1, how=how).passes.cached
    assert not ask(engine, window_s=0.1, limit=20)[0].passes.cached


class Stumbles(Remembers):
    """A model without a cache that is slow once, in the first pass of the window, since something else ran."""

    def generate_until(self, requests: list[Any]) -> list[str]:
        first = len(requests) > 16 and not self.known
        self.known |= {"stumbled"} if first else set()
        time.sleep(0.05 if first else 0.005)
        return ["?"] * len(requests)


def test_a_first_pass_that_was_slow_for_another_reason_is_not_taken_for_a_cache(engine: Half) -> None:
    lm, task, how = Stumbles(), lmeval.load_task("jm_units"), Asking(limit=20)
    passes = lmeval.ask(lm, lmmodels.watch_of(lm), task, Noting(engine), window_s=0.1, how=how).passes
    assert passes.seconds[0] > 3 * passes.seconds[1]
    assert not passes.cached


def test_clients_of_servers_are_told_from_models_that_compute_here() -> None:
    from lm_eval.api.registry import get_model

    assert lmmodels.is_client(get_model("local-completions"))
    assert lmmodels.is_client(get_model("gguf"))
    assert not lmmodels.is_client(get_model("dummy"))
    assert not lmmodels.is_client(lmmodels.EngineLM)


def test_every_task_in_the_catalogue_loads_and_has_as_many_questions_as_it_says() -> None:
    for card in REFERENCE_TASKS + THREE_SHOT:
        [task] = lmeval.load_task(card.name).tasks.values()
        assert len(task.eval_docs) == card.items
        assert len(task.fewshot_docs()) == card.examples
        assert (task.config.num_fewshot or 0) == card.shown
        assert str(task.VERSION) == card.version


@pytest.mark.parametrize("card", THREE_SHOT, ids=lambda card: card.name)
def test_a_three_shot_task_shows_three_right_examples_none_of_them_a_test_question(
    engine: Half, card: TaskCard
) -> None:
    ask(engine, task=card.name)
    for prompt in engine.prompts[-1]:
        *examples, question = prompt.split("\n")
        assert question in ASKED
        assert len(set(examples)) == 3
        assert not {EXAMPLES[example] for example in examples} & ASKED


@pytest.mark.parametrize("card", THREE_SHOT, ids=lambda card: card.name)
def test_three_examples_and_a_question_leave_our_models_room_for_the_answer(engine: Half, card: TaskCard) -> None:
    ask(engine, task=card.name)
    answers = [QUESTIONS[prompt.split("\n")[-1]] for prompt in engine.prompts[1]]
    assert all(len(p) + len(a) + 1 <= CONTEXT for p, a in zip(engine.prompts[1], answers, strict=True))
    assert max(map(len, engine.prompts[1])) <= CONTEXT - engine.max_tokens


def documents(name: str) -> list[Any]:
    return list(lmeval.load_task(name).tasks[name].eval_docs)


def test_variants_ask_the_same_questions() -> None:
    for card in THREE_SHOT:
        assert documents(card.name) == documents(str(card.variant_of))


class Says(Half):
    """An engine that gives the same answer to everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        return [replace(answer, text=self.text) for answer in super().generate(prompts, until, max_tokens)]


@pytest.mark.parametrize(("text", "made_up", "over_refusal"), [("none", 0.0, 1.0), ("7", 1.0, 0.0)])
def test_abstention_tells_made_up_answers_from_refusals_of_what_is_there(
    text: str, made_up: float, over_refusal: float
) -> None:
    result, _ = ask(Says(text), task="jm_abstention")
    assert result.metric == "exact_match"
    assert result.others == {"made_up": made_up, "over_refusal": over_refusal}


def test_whoever_always_refuses_is_a_guesser_and_no_more() -> None:
    result, _ = ask(Says("none"), task="jm_abstention")
    assert (result.accuracy, result.chance, result.quality) == (0.5, 0.5, 0.0)


def test_right_answers_are_neither_made_up_nor_refused(engine: Half) -> None:
    engine.knows_all = True
    result, _ = ask(engine, task="jm_abstention")
    assert (result.quality, result.others) == (100.0, {"made_up": 0.0, "over_refusal": 0.0})


def test_an_unknown_task_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="unknown task 'jm_adition'"):
        lmeval.load_task("jm_adition")


class Slow(Half):
    """An engine whose passes take as many CPU seconds as they are told, the last for ever."""

    def __init__(self, *took_s: float) -> None:
        super().__init__()
        self.took_s = list(took_s)

    def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
        end_s = time.process_time() + (self.took_s.pop(0) if len(self.took_s) > 1 else self.took_s[0])
        while time.process_time() < end_s:
            pass
        return super().generate(prompts, until, max_tokens)


def test_a_steady_model_is_warm_and_one_that_compiled_at_first_is_so_after_a_few_passes() -> None:
    steady, _ = ask(Slow(0.004), limit=8)
    assert steady.passes.warm
    compiled, _ = ask(Slow(0.05, 0.03, 0.004), limit=8, window_s=0.05)
    assert compiled.passes.warm
    assert compiled.passes.warm_ups > steady.passes.warm_ups >= 3


def test_a_model_that_was_still_getting_faster_in_its_warm_up_or_in_the_window_is_told_apart() -> None:
    in_warm_up, _ = ask(Slow(*[0.02 * 0.8**n for n in range(19)], 0.0003), limit=8)
    assert not in_warm_up.passes.warm
    # As steady as can be for three passes; then what it compiles in the background takes effect.
    in_window, _ = ask(Slow(*[0.01] * 10, 0.002), limit=8, window_s=0.2)
    assert not in_window.passes.warm


def test_a_model_of_slow_passes_is_warm_if_two_of_them_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemark.tasks.metered._MOST_S", 0.01)
    assert ask(Slow(0.03), limit=8)[0].passes.warm
    cold, _ = ask(Slow(0.06, 0.03), limit=8)
    assert (cold.passes.warm, cold.passes.warm_ups) == (False, 2)


def test_what_else_the_machine_does_is_not_taken_for_a_model_that_is_not_warm() -> None:
    class Interrupted(Slow):
        def generate(self, prompts: Sequence[str], until: Sequence[str], max_tokens: int) -> list[Answer]:
            time.sleep(0.02 * (len(self.calls) % 3))
            return super().generate(prompts, until, max_tokens)

    result, _ = ask(Interrupted(0.004), limit=8)
    assert result.passes.warm


def test_a_chat_that_goes_out_as_json_is_warmed_up_with_another_beginning() -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.api_models import JsonChatStr

    from joulemark.tasks.metered import _altered

    chat = JsonChatStr(json.dumps([{"role": "user", "content": "3+4="}]))
    request = Instance("generate_until", {}, (chat, {"until": []}), 0, metadata=("t", 0, 1))
    altered = _altered(request, ".").args[0]
    assert type(altered) is JsonChatStr
    assert json.loads(altered.prompt) == [{"role": "user", "content": ".3+4="}]
    assert request.args[0] == chat
