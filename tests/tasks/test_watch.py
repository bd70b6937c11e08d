"""What the watch says of a torch model, against what was really computed: counted at the embedding, and asked anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from lm_eval.api.instance import Instance

from joulemark.tasks import lmeval, lmmodels
from joulemark.tasks.types import Answer, Asking, Part
from joulemark.tasks.watch import PlainWatch, TorchWatch


class NoMeter:
    def start(self, part: Part) -> None: ...

    def stop(self) -> None: ...


class Fed:
    """Shapes of all that goes into a model: a hook of its own, where tokens become vectors."""

    def __init__(self, lm: Any) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.seconds = 0.0
        embedding = lm.model.get_input_embeddings()
        embedding.register_forward_hook(lambda _, args, __: self.shapes.append(tuple(args[0].shape)))

    @property
    def slots(self) -> int:
        return sum(rows * width for rows, width in self.shapes)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(request.param, tmp_path_factory.mktemp("model") / request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model("llama", tmp_path_factory.mktemp("model") / "llama")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_tasks(tmp_path_factory.mktemp("own") / "tasks")


def load(folder: Path, batch_size: int = 1, more: str = "") -> Any:
    lm = lmmodels.load_model("hf", f"pretrained={folder},device=cpu{more}")
    lm.batch_size_per_gpu = batch_size
    return lm


PROMPTS = (
    "to 9:",
    "3+4=",
    "to 2:",
    "3+4=",
    "1+1=2.\n2+2=",
    "to 3:",
    "6+6=",
    "0+1=",
    "1+1=2.\n2+2=4.\n4+4=",
    "to 5:",
    "3+4=",
)
"""Of several lengths, in no order; one of them three times. Eleven, so that the last batch of five is ragged."""

UNTIL_LINE = {"until": ["\n"], "do_sample": False, "max_gen_toks": 8}
UNTIL_STOP = {"until": [".", "5"], "do_sample": False, "max_gen_toks": 6}


def generating(settings: Sequence[dict[str, Any]], prompts: Sequence[str] = PROMPTS) -> list[Instance]:
    return [
        Instance("generate_until", {}, (prompt, dict(settings[at % len(settings)])), 0, metadata=("t", at, 1))
        for at, prompt in enumerate(prompts)
    ]


def scoring(pairs: Sequence[tuple[str, str]]) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, 0, metadata=("t", at, 1)) for at, pair in enumerate(pairs)]


def watched(lm: Any, requests: list[Instance]) -> tuple[list[Any], list[Answer], TorchWatch]:
    """One pass that is noted, after one that is not."""
    watch = TorchWatch(lm)
    call = getattr(lm, requests[0].request_type)
    call(requests[:2], disable_tqdm=True)
    watch.begin()
    given = call(requests, disable_tqdm=True)
    watch.end()
    call(requests[:1], disable_tqdm=True)
    return given, watch.answers(requests, given), watch


def by_hand(lm: Any, prompt: str, settings: dict[str, Any]) -> tuple[int, int, bool]:
    """Tokens of the prompt, of the answer, and whether it was cut off: one token at a time, the likeliest."""
    ids = lm.tokenizer(prompt)["input_ids"]
    known = len(ids)
    with torch.no_grad():
        while len(ids) - known < settings["max_gen_toks"]:
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
            text = lm.tokenizer.decode(ids[known:])
            if ids[-1] == lm.eot_token_id or any(stop in text for stop in settings["until"]):
                return known, len(ids) - known, False
    return known, len(ids) - known, True


@pytest.mark.parametrize("batch_size", [1, 5])
def test_each_answer_has_the_tokens_of_its_own_row(folder: Path, batch_size: int) -> None:
    lm, settings = load(folder, batch_size), (UNTIL_LINE, UNTIL_STOP)
    requests = generating(settings)
    _, answers, _ = watched(lm, requests)
    truth = [by_hand(lm, *request.args) for request in requests]
    assert [(a.prompt_tokens, a.generated_tokens, a.truncated) for a in answers] == truth
    assert {cut for _, _, cut in truth} == {True, False}
    assert len({tokens for _, tokens, _ in truth}) > 2


@pytest.mark.parametrize("batch_size", [1, 5])
def test_computed_tokens_are_all_that_the_model_was_fed(folder: Path, batch_size: int) -> None:
    lm = load(folder, batch_size)
    requests = generating([UNTIL_LINE])
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    given = lm.generate_until(requests, disable_tqdm=True)
    answers = watch.answers(requests, given)
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots
    # Rows of one batch were computed alike, however long each was.
    widths = [width for rows, width in fed.shapes if width > 1]
    assert len(widths) == -(-len(requests) // batch_size)
    for answer in answers:
        assert answer.computed_tokens >= answer.prompt_tokens + answer.generated_tokens - 1  # type: ignore[operator]
    if batch_size == 1:
        assert all(a.computed_tokens == a.prompt_tokens + a.generated_tokens - 1 for a in answers)  # type: ignore[operator]


def test_rows_that_search_with_several_beams_count_each_of_them(llama: Path) -> None:
    lm = load(llama, 5)
    requests = generating([UNTIL_LINE | {"num_beams": 3}])
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    answers = watch.answers(requests, lm.generate_until(requests, disable_tqdm=True))
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots


def test_one_prompt_asked_in_two_ways_is_told_apart(llama: Path) -> None:
    lm = load(llama, 5)
    short, long = {"until": [], "max_gen_toks": 2}, {"until": [], "max_gen_toks": 7}
    # The long one is seen first with another prompt, so lm-eval asks all of its kind first.
    requests = generating([long, short, long, short], ["to 8:", "to 9:", "to 9:", "to 8:"])
    _, answers, _ = watched(lm, requests)
    assert [answer.generated_tokens for answer in answers] == [7, 2, 7, 2]


PAIRS = [(f"{a}+{b}=", str(c)) for a, b in ((1, 2), (6, 6), (3, 4), (0, 0)) for c in (a + b, a + b + 1, 12, 2)]
PAIRS += [("1+1=2.\n2+2=", "4.\n"), ("1+1=2.\n2+2=", "4."), ("", "3+4=7."), ("3+4=", "7"), ("3+4=", "7")]
"""Continuations of one token, which lm-eval computes together, and longer ones; without a prompt; the same thrice."""


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("cached", [True, False])
def test_scored_continuations_share_the_rows_that_they_were_in(folder: Path, batch_size: int, cached: bool) -> None:
    lm = load(folder, batch_size, f",logits_cache={cached}")
    requests = scoring(PAIRS)
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    answers = watch.answers(requests, lm.loglikelihood(requests, disable_tqdm=True))
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots
    tokens = [len(lm.tok_encode(context + said)) - bool(context) for context, said in PAIRS]
    assert [answer.prompt_tokens for answer in answers] == tokens
    assert all(answer.generated_tokens == 0 and answer.latency_s for answer in answers)
    if batch_size == 1:
        alone = [at for at, pair in enumerate(PAIRS) if not cached or len(rows_with(lm, pair)) == 1]
        assert len(alone) >= 2
        assert all(answers[at].computed_tokens == tokens[at] for at in alone)
    if batch_size == 1 and cached:
        first = [answers[at].computed_tokens for at in rows_with(lm, PAIRS[0])]
        assert len(first) > 1
        assert sum(first) == tokens[0]  # type: ignore[arg-type]


def rows_with(lm: Any, pair: tuple[str, str]) -> list[int]:
    """Which of the pairs differ from one in their last token alone."""
    return [
        at for at, other in enumerate(PAIRS) if lm.tok_encode("".join(other))[:-1] == lm.tok_encode("".join(pair))[:-1]
    ]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_texts_longer_than_the_context_count_each_window_that_they_are_cut_into(llama: Path, batch_size: int) -> None:
    lm = load(llama, batch_size)
    texts = ["3+4=7.\n" * count for count in (1, 30, 2, 13, 1)]
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0, metadata=("t", 0, 1)) for text in texts]
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    answers = watch.answers(requests, lm.loglikelihood_rolling(requests, disable_tqdm=True))
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots
    shortest, longest, *_ = answers
    assert shortest.prompt_tokens == len(lm.tok_encode(texts[0]))
    assert longest.prompt_tokens > tiny.CONTEXT  # type: ignore[operator]


def test_prompts_longer_than_the_context_count_what_is_left_of_them(llama: Path) -> None:
    lm = load(llama, 5)
    requests = scoring([("3+4=7.\n" * 40 + "3+4=", said) for said in ("7", "10")] + [("3+4=", "7")])
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    answers = watch.answers(requests, lm.loglikelihood(requests, disable_tqdm=True))
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots
    assert [answer.prompt_tokens for answer in answers][:2] == [tiny.CONTEXT, tiny.CONTEXT]
    assert [answer.cut for answer in answers] == [True, True, False]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_prompt_that_lost_its_beginning_so_that_the_answer_fits_is_told_from_one_that_just_fits(
    llama: Path, batch_size: int
) -> None:
    lm = load(llama, batch_size)
    line, room = lm.tok_encode("3+4=7.\n"), tiny.CONTEXT - UNTIL_LINE["max_gen_toks"]
    fits = lm.tokenizer.decode((line * room)[:room])
    assert len(lm.tok_encode(fits)) == room
    prompts = ["3+4=", fits, "1" + fits, fits + "3+4=7.\n" * 9, "6+6="]
    _, answers, _ = watched(lm, generating([UNTIL_LINE], prompts))
    assert [answer.cut for answer in answers] == [False, False, True, True, False]
    assert max(answer.prompt_tokens or 0 for answer in answers) == room


class Spent:
    """CPU seconds inside a model's forward, measured around it."""

    def __init__(self, lm: Any) -> None:
        self.prompts = self.further = 0.0
        forward = lm.model.forward

        def timed(*args: Any, **settings: Any) -> Any:
            began = time.process_time()
            given = forward(*args, **settings)
            spent = time.process_time() - began
            if settings["input_ids"].shape[1] > 1 if "input_ids" in settings else args[0].shape[1] > 1:
                self.prompts += spent
            else:
                self.further += spent
            return given

        lm.model.forward = timed


def test_time_on_prompts_and_on_further_tokens_is_what_the_model_took_for_each(llama: Path) -> None:
    lm = load(llama, 20)
    # Of long prompts, so that the model's work is more than transformers' own around it.
    requests = generating([{"until": [], "max_gen_toks": 8}], ["1+1=2.\n" * 14] * 40)
    watch = TorchWatch(lm)
    lm.generate_until(requests, disable_tqdm=True)
    spent, before = Spent(lm), watch.seconds()
    lm.generate_until(requests, disable_tqdm=True)
    prefill_s, decode_s, total_s = (after - then for after, then in zip(watch.seconds(), before, strict=True))
    assert prefill_s + decode_s < total_s
    for told_s, spent_s in ((prefill_s, spent.prompts), (decode_s, spent.further)):
        assert spent_s < told_s < 2.5 * spent_s


def test_scoring_is_all_prompt(llama: Path) -> None:
    lm = load(llama, 5)
    requests = scoring(PAIRS)
    _, _, watch = watched(lm, requests)
    spent, before = Spent(lm), watch.seconds()
    lm.loglikelihood(requests, disable_tqdm=True)
    prefill_s, decode_s, total_s = (after - then for after, then in zip(watch.seconds(), before, strict=True))
    assert decode_s == 0
    assert spent.prompts < prefill_s < total_s


def test_the_first_token_comes_before_the_last_and_a_row_that_stopped_early_did_not_wait_for_its_batch(
    llama: Path,
) -> None:
    _, answers, _ = watched(load(llama, 11), generating([UNTIL_LINE]))
    for answer in answers:
        assert 0 < answer.ttft_s <= answer.latency_s  # type: ignore[operator]
    by_length = sorted(answers, key=lambda answer: answer.generated_tokens or 0)
    assert by_length[0].latency_s < by_length[-1].latency_s  # type: ignore[operator]


@pytest.mark.parametrize("task", ["tiny_sums", "tiny_drawn", "tiny_picks", "tiny_texts", "tiny_group"])
def test_answers_and_scores_are_the_same_to_the_bit_with_and_without_the_watch(
    folder: Path, tasks: Path, task: str
) -> None:
    question = lmeval.load_task(task, include=[str(tasks)])
    lm = load(folder)
    found = []
    for look in (PlainWatch, TorchWatch):
        watch = look(lm)
        lmmodels.set_pace(lm, watch, batch_size=5, concurrency=1)
        given: list[Any] = []
        for name in ("generate_until", "loglikelihood", "loglikelihood_rolling"):
            setattr(lm, name, keeping(getattr(type(lm), name).__get__(lm), given))
        result = lmeval.ask(lm, watch, question, NoMeter(), window_s=0.0, how=Asking())
        found.append((given[-1], result.accuracy, [item.score for item in result.items]))
    assert repr(found[0]) == repr(found[1])


def keeping(call: Callable[..., Any], given: list[Any]) -> Callable[..., Any]:
    def kept(requests: list[Instance], disable_tqdm: bool = False) -> Any:
        answers = call(requests, disable_tqdm=disable_tqdm)
        given.append(answers)
        return answers

    return kept


def test_an_answer_after_thinking_ends_at_the_first_stop_string_after_it(llama: Path) -> None:
    """Of a model that never stops by itself: everything up to the mark is thinking, stop strings in it included."""
    lm = load(llama, 1, ",think_end_token=5")
    [bare] = watched(lm, generating([{"until": [], "max_gen_toks": 9}], ["to 9:"]))[1]
    assert (bare.generated_tokens, bare.truncated) == (9, True)
    # Digits one by one: 5 ends the thinking, and 7 stops the answer; "2" came before and is none of its business.
    lm = load(llama, 2, f",think_end_token={lm.tokenizer.convert_tokens_to_ids('5')}")
    given, answers, _ = watched(lm, generating([{"until": ["2", "7"], "max_gen_toks": 9}], ["to 9:", "to 1:"]))
    assert given[0] == "6"
    assert (answers[0].generated_tokens, answers[0].truncated) == (7, False)


def test_a_special_token_stops_an_answer_as_well(llama: Path) -> None:
    lm = load(llama, 1)
    lm.model.generation_config.eos_token_id = None
    [answer] = watched(lm, generating([{"until": ["<end>"], "max_gen_toks": 30}], ["<user>3+4=<bot>"]))[1]
    assert answer.truncated is False
    assert answer.generated_tokens < 10  # type: ignore[operator]


def test_what_an_answer_took_is_forgotten_once_it_was_told(llama: Path) -> None:
    _, _, watch = watched(load(llama, 5), generating([UNTIL_LINE]))
    held = [value for value in vars(watch).values() if isinstance(value, list) and value]
    assert not held
    assert not watch._pending


class Behind:
    """A wrapper whose own forward is never called, as those of adapters and quantisers are not."""

    def __init__(self, model: Any) -> None:
        self.inside = model

    def generate(self, **settings: Any) -> Any:
        return self.inside.generate(**settings)

    def forward(self, *args: Any, **settings: Any) -> Any:
        return self.inside(*args, **settings)

    def __getattr__(self, name: str) -> Any:
        if name in ("inside", "get_base_model"):
            raise AttributeError(name)
        return getattr(self.inside, name)


def test_a_model_that_hides_its_forwards_is_not_said_to_have_phases(llama: Path) -> None:
    lm = load(llama, 5)
    lm._model = Behind(lm.model)
    requests = generating([UNTIL_LINE])
    _, answers, watch = watched(lm, requests)
    assert watch.seconds()[:2] == (0.0, 0.0)
    assert all(answer.ttft_s is None for answer in answers)
    whole = load(llama, 5)
    _, told, _ = watched(whole, requests)
    assert [(a.generated_tokens, a.computed_tokens) for a in answers] == [
        (a.generated_tokens, a.computed_tokens) for a in told
    ]


def test_an_adapter_over_a_model_is_watched_as_the_model_is(llama: Path) -> None:
    peft = pytest.importorskip("peft")
    lm = load(llama, 5)
    lm._model = peft.get_peft_model(lm.model, peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    requests = generating([UNTIL_LINE])
    watch, fed = TorchWatch(lm), Fed(lm)
    watch.begin()
    answers = watch.answers(requests, lm.generate_until(requests, disable_tqdm=True))
    assert sum(answer.computed_tokens or 0 for answer in answers) == fed.slots
    prefill_s, decode_s, _ = watch.seconds()
    assert prefill_s > 0
    assert decode_s > 0


def test_an_encoder_with_a_decoder_counts_tokens_and_says_nothing_of_phases(tmp_path: Path, tasks: Path) -> None:
    lm = lmmodels.load_model("hf", f"pretrained={tiny.make_seq2seq(tmp_path / 't5')},device=cpu")
    watch = lmmodels.watch_of(lm)
    assert isinstance(watch, PlainWatch)
    question = lmeval.load_task("tiny_sums", include=[str(tasks)])
    result = lmeval.ask(lm, watch, question, NoMeter(), window_s=0.0, how=Asking(limit=4))
    assert result.passes.prefill_share is None
    assert all(item.prompt_tokens for item in result.items)
    # Which prompts lm-eval cuts is not seen here, but it says that it does.
    assert not result.passes.cut
    assert {item.cut for item in result.items} == {None}
    lm._max_length = 3
    assert lmeval.ask(lm, watch, question, NoMeter(), window_s=0.0, how=Asking(limit=4)).passes.cut


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_device_is_waited_for_and_nothing_is_held_there(llama: Path) -> None:
    lm = lmmodels.load_model("hf", f"pretrained={llama},device=cuda")
    lm.batch_size_per_gpu = 5
    requests = generating([UNTIL_LINE | {"until": [], "max_gen_toks": 60}]) * 4
    watch = TorchWatch(lm)
    lm.generate_until(requests, disable_tqdm=True)
    torch.cuda.synchronize()
    held, began, before = torch.cuda.memory_allocated(), time.monotonic(), watch.seconds()
    watch.begin()
    given = lm.generate_until(requests, disable_tqdm=True)
    torch.cuda.synchronize()
    took_s = time.monotonic() - began
    prefill_s, decode_s, total_s = (after - then for after, then in zip(watch.seconds(), before, strict=True))
    assert torch.cuda.memory_allocated() <= held
    assert 0 < prefill_s < decode_s
    assert 0.5 * took_s < prefill_s + decode_s <= total_s
    assert total_s == pytest.approx(took_s, rel=0.05)
    answers = watch.answers(requests, given)
    assert all(answer.generated_tokens for answer in answers)
