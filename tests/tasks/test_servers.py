"""Real lm-eval, asking llama.cpp's own server; and servers of ours that lack what some servers lack."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError
from llamacpp import LlamaCpp, free_port, llama_cpp, write_gguf

from joulemark.harness.alphabet import ALPHABET
from joulemark.harness.reference import load_engine
from joulemark.meters.errors import UsageError
from joulemark.tasks import lmeval, lmmodels
from joulemark.tasks.overlap import OverlapClock
from joulemark.tasks.ownargs import split_args
from joulemark.tasks.streams import NoAnswer, StreamBroken, StreamedAnswer
from joulemark.tasks.types import Asking, Part, TaskResult

COMPLETIONS, CHAT = "local-completions", "local-chat-completions"

SCORED = {
    "which.yaml": """task: which
output_type: multiple_choice
custom_dataset: !function which.load
test_split: test
doc_to_text: prompt
doc_to_choice: ["1", "2", "34"]
doc_to_target: gold
target_delimiter: ""
metadata: {version: 1.0}
""",
    "which.py": """import datasets

def load(**_):
    return {"test": datasets.Dataset.from_list([{"prompt": f"{a}+1=", "gold": a % 3} for a in range(9)])}
""",
}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Requests that lm-eval gave up tell so when they are collected, which must not be while Python 3.11 compiles."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    with llama_cpp(write_gguf("dense-60k", tmp_path_factory.mktemp("gguf") / "tiny.gguf")) as up:
        yield up


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> lmeval.Question:
    """A task whose continuations are scored."""
    folder = tmp_path_factory.mktemp("scored")
    for name, text in SCORED.items():
        (folder / name).write_text(text)
    return lmeval.load_task("which", include=[str(folder)])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference models' characters as a Hugging Face tokenizer, in a folder."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {character: number for number, character in enumerate(["<end>", *ALPHABET])}
    made = Tokenizer(models.WordLevel(words, unk_token=" "))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    made.decoder = decoders.Fuse()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>").save_pretrained(folder)
    return folder


class Windows:
    """A meter that notes how long its windows were."""

    def __init__(self) -> None:
        self.seconds: dict[Part, float] = {}

    def start(self, part: Part) -> None:
        self.part, self.began = part, time.monotonic()

    def stop(self) -> None:
        self.seconds[self.part] = time.monotonic() - self.began


def load(kind: str, server: LlamaCpp) -> Any:
    return lmmodels.load_model(kind, server.args(chat=kind == CHAT))


def ask(
    lm: Any, task: lmeval.Question | None = None, *, concurrency: int = 1, batch_size: int = 1, **how: Any
) -> TaskResult:
    watch = lmmodels.watch_of(lm)
    lmmodels.set_pace(lm, watch, batch_size=batch_size, concurrency=concurrency)
    question = task or lmeval.load_task("jm_units")
    return lmeval.ask(lm, watch, question, Windows(), window_s=0.0, how=Asking(**{"limit": 40} | how))


def requests_of(lm: Any, count: int = 60) -> list[Any]:
    """As many of lm-eval's own requests, with two sets of settings, and one of them twice."""
    task = lmeval.load_task("jm_units").tasks["jm_units"]
    chat = {"apply_chat_template": True, "chat_template": lm.apply_chat_template} if "chat" in lm.base_url else {}
    task.build_all_requests(limit=count, rank=0, world_size=1, **chat)
    made = list(task.instances)
    for request in made[::2]:
        request.arguments = (request.args[0], request.args[1] | {"max_gen_toks": 2})
    return [*made, made[0]]


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("kind", [COMPLETIONS, CHAT])
def test_answers_are_those_that_lm_eval_gets_without_us(kind: str, concurrency: int, server: LlamaCpp) -> None:
    plain, watched = load(kind, server), load(kind, server)
    plain._concurrent = concurrency
    watch = lmmodels.watch_of(watched)
    lmmodels.set_pace(watched, watch, batch_size=1, concurrency=concurrency)
    asked = requests_of(plain)
    watch.begin()
    answers = watched.generate_until(asked)
    watch.end()
    assert answers == plain.generate_until(asked)
    assert len(set(answers)) > 10
    told = watch.answers(asked, answers)
    assert [answer.text for answer in told] == answers
    for request, answer in zip(asked, told, strict=True):
        prompt = request.args[0] if kind == COMPLETIONS else json.loads(request.args[0].prompt)[0]["content"]
        # A token of this model is a character, and the end of a line stops it.
        assert answer.prompt_tokens == len(prompt)
        assert answer.truncated == (answer.generated_tokens == request.args[1]["max_gen_toks"])
        assert answer.generated_tokens == len(answer.text) + (not answer.truncated)
        assert 0 < answer.ttft_s <= answer.latency_s
    assert 0 < sum(answer.truncated for answer in told) < len(told)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_shares_add_up_to_the_time_in_which_any_request_was_under_way(concurrency: int, server: LlamaCpp) -> None:
    lm = load(COMPLETIONS, server)
    watch = lmmodels.watch_of(lm)
    lmmodels.set_pace(lm, watch, batch_size=1, concurrency=concurrency)
    asked = requests_of(lm)
    before = watch.seconds()
    watch.begin()
    answers = lm.generate_until(asked)
    watch.end()
    prefill, decode, wall = (b - a for a, b in zip(before, watch.seconds(), strict=True))
    told = watch.answers(asked, answers)
    assert prefill > 0
    assert decode > 0
    assert prefill + decode == pytest.approx(sum(answer.share_s for answer in told), rel=1e-9)
    assert prefill + decode < wall
    latencies = sum(answer.latency_s for answer in told)
    assert latencies == pytest.approx(prefill + decode, rel=1e-9) if concurrency == 1 else latencies > 2 * wall


@pytest.mark.parametrize(("kind", "pace"), [
    (COMPLETIONS, {"concurrency": 8}), (CHAT, {"concurrency": 8}), (COMPLETIONS, {"batch_size": 4})
])  # fmt: skip
def test_a_model_scores_behind_a_server_what_it_scores_here(kind: str, pace: dict[str, int], server: LlamaCpp) -> None:
    here = ask(lmmodels.EngineLM(load_engine("dense-60k", threads=1)))
    served = ask(load(kind, server), apply_chat_template=kind == CHAT, **pace)
    assert served.accuracy == here.accuracy > 0.2
    assert [item.score for item in served.items] == [item.score for item in here.items]
    # Beside the stop string's token, which both count.
    assert [item.generated_tokens for item in served.items] == [item.generated_tokens for item in here.items]
    assert served.passes.prefill_share > 0
    assert served.passes.prefill_share + served.passes.decode_share < 1


def test_llama_cpp_is_told_to_answer_no_prompt_from_its_cache(server: LlamaCpp) -> None:
    lm = load(COMPLETIONS, server)
    watch = lmmodels.watch_of(lm)
    asked = requests_of(lm)
    lm.generate_until(asked[:1])
    for _ in range(2):
        watch.begin()
        lm.generate_until(asked)
        watch.end()
    assert not watch.saw_cache
    for request in asked:
        request.arguments = (request.args[0], request.args[1] | {"cache_prompt": True})
    lm.generate_until(asked)
    assert watch.saw_cache


def test_streams_can_be_turned_off(server: LlamaCpp) -> None:
    result = ask(load(COMPLETIONS, server), gen_kwargs="stream=false")
    assert {item.ttft_s for item in result.items} == {None}
    assert all(item.generated_tokens and item.share_s for item in result.items)
    assert result.passes.prefill_share is None


@pytest.mark.parametrize("kind", [COMPLETIONS, CHAT])
def test_llama_cpp_is_refused_where_continuations_are_scored(
    kind: str, server: LlamaCpp, scored: lmeval.Question
) -> None:
    lm = load(kind, server)
    with pytest.raises(UsageError, match="log-probabilities"):
        ask(lm, scored)


def test_llama_cpp_is_refused_for_scores_even_where_lm_eval_has_its_tokenizer(
    server: LlamaCpp, tokenizer: Path, scored: lmeval.Question
) -> None:
    args = server.args().replace("tokenizer_backend=None", f"tokenizer={tokenizer}")
    with pytest.raises(UsageError, match="it tells none"):
        ask(lmmodels.load_model(COMPLETIONS, args), scored)


@dataclass
class Reply:
    """What a server of ours says; one that is ``cut`` hangs up in the middle."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    cut: bool = False


@contextmanager
def served_by(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[Any]:
    """lm-eval's client of a server that answers so; `asked` notes what it was sent."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            reply = answer(body)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body) + reply.cut))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            pass  # A client that hangs up early is what some of these tests are about.

    with Server(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{http.server_address[1]}/v1/completions"
        lm = lmmodels.load_model(COMPLETIONS, f"model=tiny,base_url={url},tokenizer_backend=None,max_retries=2")
        lm.asked = asked
        yield lm
        http.shutdown()


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}], **more}


def events(*contents: Any, end: bool = True) -> bytes:
    lines = [f"data: {json.dumps(content)}\n\n" for content in contents]
    return "".join([*lines, "data: [DONE]\n\n" if end else ""]).encode()


def plainly(body: dict[str, Any]) -> Reply:
    """Knows no streams."""
    return Reply(b"no streams here", 422) if "stream" in body else Reply(json.dumps(said(body["prompt"][:3])).encode())


def without_usage(body: dict[str, Any]) -> Reply:
    """Knows streams, but no options of them."""
    if "stream_options" in body:
        return Reply(b"what is stream_options?", 400)
    return Reply(events(said(body["prompt"][:2]), said(body["prompt"][2:3])), kind="text/event-stream")


def in_one_piece(body: dict[str, Any]) -> Reply:
    """Takes no notice of being asked for a stream."""
    return Reply(json.dumps(said(body["prompt"][:3], usage={"prompt_tokens": 5, "completion_tokens": 3})).encode())


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(("answer", "tried", "streams", "tokens"), [
    (plainly, 2, False, None), (without_usage, 1, True, None), (in_one_piece, 0, False, 3)
])  # fmt: skip
def test_a_server_that_lacks_something_is_asked_without_it_and_is_not_tried_again(
    answer: Callable[[dict[str, Any]], Reply], tried: int, streams: bool, tokens: int | None, concurrency: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    with served_by(answer) as lm:
        watch = lmmodels.watch_of(lm)
        lmmodels.set_pace(lm, watch, batch_size=1, concurrency=concurrency)
        asked = requests_of(lm, 20)
        watch.begin()
        answers = lm.generate_until(asked)
        watch.end()
        assert answers == [request.args[0][:3] for request in asked]
        told = watch.answers(asked, answers)
        assert {one.generated_tokens for one in told} == {tokens}
        assert all((one.ttft_s is not None) == streams for one in told)
        assert (watch.seconds()[:2] == (0.0, 0.0)) == (not streams)
        assert sum(one.share_s for one in told) > 0
        refused = len(lm.asked) - len(asked)
        assert refused == tried if concurrency == 1 else tried <= refused <= tried * concurrency
    assert len([record for record in caplog.records if record.name == "joulemark"]) == min(tried, 1)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("broken", [
    Reply(events({"error": {"message": "out of memory"}}, end=False), kind="text/event-stream"),
    Reply(events({"choices": [{"index": 0, "text": "1"}]}, end=False), kind="text/event-stream"),
    Reply(events({"choices": [{"index": 0, "text": "1"}]}, end=False), kind="text/event-stream", cut=True),
])  # fmt: skip
def test_an_answer_that_breaks_off_is_never_taken_for_a_short_one(broken: Reply, concurrency: int) -> None:
    once: list[int] = []

    def answer(_: dict[str, Any]) -> Reply:
        whole = Reply(events(said("12")), kind="text/event-stream")
        once.append(0)
        return broken if len(once) == 1 else whole

    with served_by(answer) as lm:
        watch = lmmodels.watch_of(lm)
        lmmodels.set_pace(lm, watch, batch_size=1, concurrency=concurrency)
        asked = requests_of(lm, 3)
        watch.begin()
        answers = lm.generate_until(asked)
        watch.end()
        assert answers == ["12"] * 4
        assert len(lm.asked) == 5
        # The time of the attempt that failed is somebody's, too; the pause before the next one is nobody's.
        shares = [one.share_s for one in watch.answers(asked, answers)]
        assert 0 < sum(shares) < 1
    with served_by(lambda _: broken) as lm, pytest.raises((StreamBroken, OSError, ClientError)):
        ask(lm, concurrency=concurrency)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_error_is_told_in_the_servers_own_words(concurrency: int) -> None:
    with served_by(lambda _: Reply(b"the prompt is too long", 400)) as lm:
        with pytest.raises(NoAnswer, match="HTTP 400: the prompt is too long"):
            ask(lm, concurrency=concurrency, limit=2)
        # Twice in each way that it might have understood, as often as lm-eval tries; no way is given up.
        assert {*map(len, ({"stream", "stream_options"} & {*body} for body in lm.asked))} == {0, 1, 2}


def test_a_batch_whose_tokens_are_told_in_one_sum_tells_none_of_its_items() -> None:
    def answer(body: dict[str, Any]) -> Reply:
        choices = [
            {"index": at, "text": prompt[:1], "finish_reason": "stop"} for at, prompt in enumerate(body["prompt"])
        ]
        usage = {"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 9}}
        return Reply(events(*({"choices": [choice]} for choice in choices[::-1]), usage), kind="text/event-stream")

    with served_by(answer) as lm:
        result = ask(lm, batch_size=4, limit=10)
    assert {item.generated_tokens for item in result.items} == {None}
    assert {item.truncated for item in result.items} == {False}
    assert all(item.share_s for item in result.items)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_prompts_that_are_sent_as_tokens_and_lost_some_are_told_apart_and_of_text_nothing_is_known(
    tokenizer: Path, concurrency: int
) -> None:
    with served_by(lambda _: Reply(json.dumps(said("7")).encode())) as plain:
        whole = ask(plain, concurrency=concurrency)
        # The longest of the prompts have no room beside the 24 tokens of an answer; lm-eval takes one off by itself.
        args = f"model=tiny,base_url={plain.base_url},tokenizer={tokenizer},max_length=40"
        result = ask(lmmodels.load_model(COMPLETIONS, args), concurrency=concurrency)
    assert {item.cut for item in whole.items} == {None}
    asked = [doc["prompt"] for doc in lmeval.load_task("jm_units").tasks["jm_units"].eval_docs][:40]
    room = 39 - 24
    assert [item.cut for item in result.items] == [len(prompt) > room for prompt in asked]
    assert {item.cut for item in result.items} == {True, False}


def scores(tokens: list[int], *, extra: int = 1, value: float | None = None) -> bytes:
    """Log-probabilities as OpenAI's completions tell them; of the first token there is none."""
    values = [-1 / (1 + token) if value is None else value for token in tokens] + [-0.5] * extra
    told = {"token_logprobs": [None, *values[1:]], "top_logprobs": [None, *({"x": v, "y": -9.0} for v in values[1:])]}
    return json.dumps({"choices": [{"index": 0, "text": "", "logprobs": told, "finish_reason": "length"}]}).encode()


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda _: Reply(json.dumps(said("x")).encode()), "tells none"),
    (lambda _: Reply(scores([1])), "tells 2 for"),
    (lambda _: Reply(scores([], extra=1)), "only that of the token it generates"),
    (lambda body: Reply(scores(body["prompt"][0], extra=2)), "add a token at the beginning"),
    (lambda body: Reply(scores(body["prompt"][0], value=0.0)), "all 0"),
    (lambda body: Reply(scores(body["prompt"][0], value=2.0)), "no log-probabilities"),
    (lambda _: Reply(b"echo is not supported", 400), "HTTP 400: echo is not supported"),
])  # fmt: skip
def test_a_server_without_scores_of_prompts_is_refused_before_it_is_asked_anything_else(
    answer: Callable[[dict[str, Any]], Reply], reason: str, tokenizer: Path, scored: lmeval.Question
) -> None:
    with served_by(answer) as plain:
        lm = lmmodels.load_model(COMPLETIONS, f"model=tiny,base_url={plain.base_url},tokenizer={tokenizer}")
        with pytest.raises(UsageError, match=reason):
            ask(lm, scored)
        assert len(plain.asked) == 1


@pytest.mark.parametrize("concurrency", [1, 8])
def test_scored_items_get_the_time_and_the_tokens_that_are_theirs(
    tokenizer: Path, scored: lmeval.Question, concurrency: int
) -> None:
    with served_by(lambda body: Reply(scores(body["prompt"][0]))) as plain:
        lm = lmmodels.load_model(COMPLETIONS, f"model=tiny,base_url={plain.base_url},tokenizer={tokenizer}")
        result = ask(lm, scored, concurrency=concurrency)
    assert len(result.items) == 9
    # Three prompts of four characters and a choice: two of one more, one of two.
    assert {item.prompt_tokens for item in result.items} == {3 * 4 + 4}
    assert {item.generated_tokens for item in result.items} == {0}
    assert {item.cut for item in result.items} == {False}
    assert all(item.share_s > 0 and item.ttft_s is None for item in result.items)
    assert result.passes.prefill_share > 0
    assert result.passes.decode_share == 0


def test_llama_cpp_python_is_refused_where_its_scores_belong_to_other_tokens_and_taken_where_they_do_not(
    tmp_path: Path, tokenizer: Path, scored: lmeval.Question
) -> None:
    """Its server pairs each token with the score of the next, unless the model's texts begin with a token of theirs."""
    pytest.importorskip("llama_cpp.server")
    for begins in (False, True):
        gguf, port = write_gguf("dense-60k", tmp_path / f"{begins}.gguf", begins=begins), free_port()
        options = f"--model {gguf} --port {port} --n_ctx 192 --logits_all true --n_threads 1 --verbose false"
        with ended(subprocess.Popen([sys.executable, "-m", "llama_cpp.server", *options.split()])):
            url = f"http://127.0.0.1:{port}/v1"
            wait_for_answer(f"{url}/models")
            args = f"model=x,base_url={url}/completions,tokenizer={tokenizer},tokenized_requests=False"
            lm = lmmodels.load_model(COMPLETIONS, args)
            if begins:
                assert all(item.share_s > 0 for item in ask(lm, scored).items)
            else:
                with pytest.raises(UsageError, match="read the wrong ones"):
                    ask(lm, scored)


def test_a_stream_is_put_together_whatever_the_pieces_it_comes_in() -> None:
    sent = (
        b": a comment\n\ndata: null\n\n"
        + events({"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}, end=False)
        + events({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}, end=False)
        + events({"choices": [{"index": 0, "delta": {"content": "z\u00fcrich"}}]}, end=False)
        + 'data: {"choices":[{"index":0,"delta":{"content":"\u2603"},"finish_reason":"length"}]}\r\n\r\n'.encode()
        + b"data: [DONE]"
    )
    for size in (1, 7, len(sent)):
        stream = StreamedAnswer()
        for at in range(0, len(sent), size):
            stream.feed(sent[at : at + size])
        [choice] = stream.whole()["choices"]
        assert choice["message"]["content"] == "z\u00fcrich\u2603"
        assert choice["finish_reason"] == "length"


def test_a_thought_is_a_first_token_and_an_answer_that_never_came_is_none() -> None:
    stream = StreamedAnswer()
    stream.feed(events({"choices": [{"index": 0, "delta": {"content": None}}]}, end=False))
    assert not stream.begun
    stream.feed(events({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}, end=False))
    assert stream.begun
    stream.feed(events({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}))
    assert stream.whole()["choices"][0]["message"]["content"] is None


def test_our_arguments_are_told_from_lm_evals() -> None:
    assert split_args("model=m,server_pid=7,base_url=u") == ("model=m,base_url=u", {"server_pid": "7"})
    assert split_args("base_url=u,server_at=rack") == ("base_url=u", {"server_at": "rack"})
    command = "llama-server -m a.gguf --override-kv a=b,c=d --server=x"
    assert split_args(f"base_url=u,server={command}") == ("base_url=u", {"server": command})
    assert split_args("pretrained=server,dtype=float32") == ("pretrained=server,dtype=float32", {})


def test_overlapping_requests_share_the_time_and_each_keeps_what_came_before_its_first_token() -> None:
    clock = OverlapClock()
    one = clock.begin("streamed")
    time.sleep(0.02)
    other = clock.begin("streamed")
    clock.first(one)
    time.sleep(0.02)
    clock.first(other)
    clock.end(one)
    clock.end(other)
    busy_s = max(one.ended_s, other.ended_s) - one.began_s
    assert one.share_s + other.share_s == pytest.approx(busy_s, rel=1e-9)
    assert clock.prefill_s + clock.decode_s == pytest.approx(busy_s, rel=1e-9)
    assert one.share_s == pytest.approx(one.latency_s - other.share_s, abs=5e-3)
    assert one.before_s >= 0.02
    assert other.before_s == pytest.approx(other.ttft_s / 2, rel=1e-9)
