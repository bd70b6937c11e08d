"""Groups, tags and folders of one's own: what becomes a cell, what is refused, and what it is called by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
from lm_eval.api.model import LM

from joulemark.meters.errors import UsageError
from joulemark.tasks import lmeval, lmmodels, shares
from joulemark.tasks.types import Asking, Part, TaskResult


class NoMeter:
    def start(self, part: Part) -> None: ...

    def stop(self) -> None: ...


class Likes(LM):  # type: ignore[misc]
    """Finds what begins with a 1 likely, and always says the same."""

    def __init__(self, says: str = "7.") -> None:
        super().__init__()
        self.says, self.prompts = says, list[str]()

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        self.prompts = [request.args[0] for request in requests]
        return [(-1.0 if request.args[1].startswith("1") else -2.0, False) for request in requests]

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.prompts = [request.args[0] for request in requests]
        return [self.says] * len(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return [-1.0] * len(requests)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_tasks(tmp_path / "tasks")


def ask(name: str, folder: Path, lm: LM | None = None, window_s: float = 0.0, **how: Any) -> TaskResult:
    lm = lm or Likes()
    question = lmeval.load_task(name, include=[str(folder)])
    return lmeval.ask(lm, lmmodels.watch_of(lm), question, NoMeter(), window_s=window_s, how=Asking(**how))


def expand(folder: Path, *names: str) -> tuple[list[str], frozenset[str]]:
    """What becomes of names; lm-eval's own index, which takes seconds, is not asked for them."""
    said: list[str] = []
    found = lmeval.expand_tasks(names, [str(folder)], said.append)
    assert not said
    return found


def test_a_group_whose_score_is_a_mean_over_items_stays_one_and_others_and_tags_become_their_tasks(
    folder: Path,
) -> None:
    assert expand(folder, "tiny_group", "tiny_even") == (["tiny_group", "tiny_even"], frozenset())
    assert expand(folder, "tiny_nested") == (["tiny_nested"], frozenset())
    assert expand(folder, "tiny_loose")[0] == ["tiny_counts", "tiny_odd"]
    assert expand(folder, "tiny_some", "tiny_picks", "tiny_counts")[0] == ["tiny_counts", "tiny_sums", "tiny_picks"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("tiny_odd", "tiny_group"), "'tiny_odd' is in 'tiny_group' as well, and would count twice"),
        (("tiny_nested", "tiny_picks"), "'tiny_picks' is in 'tiny_nested' as well"),
        (("tiny_group", "tiny_loose"), "'tiny_odd' is in 'tiny_group' as well"),
        (("tiny_group", "tiny_nested"), "'tiny_group' is in 'tiny_nested' as well"),
        (("tiny_group", "other"), "'tiny_odd' is in 'tiny_group' and in 'other', and would count twice"),
    ],
)
def test_what_would_count_twice_over_all_tasks_is_refused_with_both_that_it_is_in(
    names: tuple[str, ...], reason: str, folder: Path
) -> None:
    listed = "aggregate_metric_list:\n  - {metric: acc, weight_by_size: true}\n"
    (folder / "other.yaml").write_text(f"group: other\ntask: [tiny_odd, tiny_even]\n{listed}")
    with pytest.raises(UsageError, match=reason):
        expand(folder, *names)


def test_examples_are_refused_before_anything_is_loaded_where_a_tasks_own_words_rule_them_out(folder: Path) -> None:
    listed = "aggregate_metric_list:\n  - {metric: exact_match, weight_by_size: true}\n"
    (folder / "bare.yaml").write_text(f"group: bare\ntask: [tiny_counts, tiny_sums_bare]\n{listed}")
    (folder / "shown.yaml").write_text(f"group: shown\ntask: [tiny_counts, tiny_sums_bare]\nnum_fewshot: 2\n{listed}")
    for name in ("tiny_sums_bare", "bare"):
        with pytest.raises(UsageError, match="'tiny_sums_bare' is asked without examples"):
            lmeval.refuse_examples([name], [str(folder)], stock=False)
    lmeval.refuse_examples(["tiny_sums", "tiny_sums_shown", "tiny_group", "shown"], [str(folder)], stock=False)


def test_a_group_has_the_items_of_all_its_tasks_however_deep_and_their_mean(folder: Path) -> None:
    whole = ask("tiny_nested", folder)
    parts = [ask(name, folder) for name in ("tiny_picks", "tiny_odd", "tiny_even")]
    assert len(whole.items) == sum(len(part.items) for part in parts) > 20
    scores = sorted(item.score for part in parts for item in part.items)
    assert sorted(item.score for item in whole.items) == scores
    assert whole.accuracy == pytest.approx(sum(scores) / len(scores))
    assert len({item.doc_id for item in whole.items}) == len(whole.items)
    assert {item.cluster.partition("/")[0] for item in whole.items} == {"tiny_picks", "tiny_odd", "tiny_even"}
    assert whole.chance == pytest.approx(sum(p.chance * len(p.items) for p in parts) / len(whole.items))


def test_a_group_whose_score_is_a_mean_over_tasks_becomes_its_tasks(folder: Path) -> None:
    listed = "  - {metric: acc, weight_by_size: false}\n"
    (folder / "even.yaml").write_text(f"group: evenly\ntask: [tiny_odd, tiny_even]\naggregate_metric_list:\n{listed}")
    assert expand(folder, "evenly")[0] == ["tiny_odd", "tiny_even"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("group: g\ntask: [{task: tiny_odd, num_fewshot: 1}]\n", "one by one"),
        ("group: g\ntask: [tiny_odd, tiny_even]\nnum_fewshot: 2\n", "without its own num_fewshot"),
    ],
)
def test_a_group_that_would_lose_what_it_says_of_its_tasks_is_not_taken_apart(
    folder: Path, text: str, reason: str
) -> None:
    (folder / "g.yaml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        lmeval.expand_tasks(["g"], [str(folder)], lambda _: None)


def test_a_group_that_stays_one_keeps_what_it_says_of_its_tasks(folder: Path) -> None:
    (folder / "g.yaml").write_text(
        "group: g\ntask: [tiny_odd, {task: tiny_even, num_fewshot: 2}]\n"
        "aggregate_metric_list:\n  - {metric: acc, weight_by_size: true}\n"
    )
    assert expand(folder, "g")[0] == ["g"]
    lm = Likes()
    ask("g", folder, lm)
    assert sorted({prompt.count("=") for prompt in lm.prompts}) == [1, 3]


def test_a_group_whose_tasks_have_no_metric_in_common_is_refused(folder: Path) -> None:
    (folder / "g.yaml").write_text(
        "group: g\ntask: [tiny_odd, tiny_counts]\naggregate_metric_list:\n  - {metric: acc, weight_by_size: true}\n"
    )
    with pytest.raises(UsageError, match="no acc of tiny_counts"):
        lmeval.load_task("g", include=[str(folder)])


def test_a_group_that_asks_in_two_ways_of_which_one_is_too_short_to_measure_is_refused(folder: Path) -> None:
    both = (folder / "tiny_counts.yaml").read_text().replace("tiny_counts", "both")
    (folder / "both.yaml").write_text(both + "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
                                      "process_results: !function questions.as_acc\n")  # fmt: skip
    with (folder / "questions.py").open("a") as file:
        file.write("\n\ndef as_acc(doc, results):\n    return {'acc': 0.0}\n")
    (folder / "g.yaml").write_text(
        "group: g\ntask: [tiny_odd, both]\naggregate_metric_list:\n  - {metric: acc, weight_by_size: true}\n"
    )

    class Hasty(Likes):
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            sum(range(300_000))
            return super().loglikelihood(requests)

    assert len(ask("g", folder, Hasty()).items) == 12
    with pytest.raises(UsageError, match="in more than one way"):
        ask("g", folder, Hasty(), window_s=0.05)


def test_a_task_that_is_there_twice_is_refused_if_it_is_asked(folder: Path) -> None:
    (folder / "z.yaml").write_text((folder / "tiny_odd.yaml").read_text())
    for name in ("tiny_odd", "tiny_group"):
        with pytest.raises(UsageError, match=r"'tiny_odd' is there twice, in .*tiny_odd.yaml and .*z.yaml"):
            lmeval.expand_tasks([name], [str(folder)], lambda _: None)
    assert expand(folder, "tiny_counts")[0] == ["tiny_counts"]


def test_a_task_that_has_the_name_of_one_of_ours_is_refused(folder: Path) -> None:
    (folder / "mine.yaml").write_text((folder / "tiny_odd.yaml").read_text().replace("tiny_odd", "jm_units"))
    with pytest.raises(UsageError, match="'jm_units' is there twice"):
        lmeval.expand_tasks(["jm_units"], [str(folder)], lambda _: None)


def test_a_folder_in_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("task: [")
    with pytest.raises(UsageError, match=r"Not readable: .*broken.yaml.*parsing"):
        lmeval.expand_tasks(["mine"], [str(tmp_path)], lambda _: None)
    with pytest.raises(UsageError, match="no such folder"):
        lmeval.expand_tasks(["mine"], [str(tmp_path / "nowhere")], lambda _: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no task is there"):
        lmeval.expand_tasks(["mine"], [str(tmp_path / "empty")], lambda _: None)


def test_an_unknown_task_names_what_could_not_be_read_and_what_is_near(folder: Path) -> None:
    (folder / "mine.yaml").write_text("task: mine\n  output_type: generate_until\n")
    with pytest.raises(UsageError, match=r"unknown task 'mine'.*Not readable: .*mine.yaml"):
        lmeval.expand_tasks(["mine"], [str(folder)], lambda _: None)
    with pytest.raises(UsageError, match=r"did you mean tiny_odd\?"):
        lmeval.expand_tasks(["tiny_od"], [str(folder)], lambda _: None)


def test_examples_that_a_task_is_asked_without_are_not_shown_all_the_same(folder: Path) -> None:
    with pytest.raises(UsageError, match="'tiny_sums_bare' is asked without examples"):
        ask("tiny_sums_bare", folder, num_fewshot=2)
    lm = Likes()
    ask("tiny_sums_bare", folder, lm, num_fewshot=0)
    assert {prompt.count("=") for prompt in lm.prompts} == {1}
    ask("tiny_sums_shown", folder, lm)
    assert {prompt.count("=") for prompt in lm.prompts} == {3}
    ask("tiny_sums_shown", folder, lm, num_fewshot=1)
    assert {prompt.count("=") for prompt in lm.prompts} == {2}


def test_a_task_that_asks_each_question_several_times_counts_all_that_it_took(folder: Path) -> None:
    class Counts(Likes):
        def tok_encode(self, text: str) -> list[int]:
            return list(text.encode())

    result = ask("tiny_drawn", folder, Counts("7"))
    assert len(result.items) == 21
    assert {item.generated_tokens for item in result.items} == {3}
    assert {item.prompt_tokens for item in result.items} == {3 * len("3+4=")}
    assert result.others == {"long": 0.0}


def test_a_metric_of_all_items_together_gives_accuracy_and_no_scores_of_items(folder: Path) -> None:
    result = ask("tiny_f1", folder)
    assert result.metric == "f1"
    assert 0 <= result.accuracy <= 1  # type: ignore[operator]
    assert result.quality is None
    assert result.others == {}
    assert all(item.score != item.score for item in result.items)


MORE = "aggregation: mean, higher_is_better: true"


@pytest.mark.parametrize(
    ("name", "score", "way", "says", "is_share"),
    [
        ("acc_strict", "0.25", MORE, "", True),
        ("exact_match", "0.25", MORE, "", True),
        # Less is better; nobody says which is; a task's own word goes before its metric's name.
        ("acc_strict", "0.25", "aggregation: mean, higher_is_better: false", "", False),
        ("grade", "0.25", "aggregation: mean", "share: true", False),
        ("grade", "0.25", MORE, "share: true", True),
        ("acc_strict", "0.25", MORE, "share: false", False),
        # Points up to 100, of which one model got less than 1 and another more.
        ("grade", "0.25", MORE, "", False),
        ("acc_strict", "40 * len(doc['answer'])", MORE, "", False),
        ("em", "0.25", "aggregation: !function questions.in_points, higher_is_better: true", "", False),
        ("acc_strict", "(doc['answer'], results[0])", "aggregation: bleu, higher_is_better: true", "", False),
    ],
)
def test_a_metric_is_the_accuracy_if_its_task_says_that_it_is_a_share_and_else_the_first_of_the_others(
    name: str, score: str, way: str, says: str, is_share: bool, folder: Path
) -> None:
    with (folder / "questions.py").open("a") as file:
        file.write(f"\n\ndef graded(doc, results):\n    return {{'{name}': {score}, 'long': 0.5}}\n")
        file.write("\n\ndef in_points(items):\n    return sum(items) / len(items)\n")
    text = (folder / "tiny_counts.yaml").read_text().replace("task: tiny_counts", "task: graded")
    text += "process_results: !function questions.graded\nmetric_list:\n"
    text += (
        f"  - {{metric: {name}, {way}}}\n  - {{metric: long, aggregation: mean}}\nmetadata: {{version: 1.0, {says}}}\n"
    )
    (folder / "graded.yaml").write_text(text)
    result = ask("graded", folder)
    assert result.metric == name
    if is_share:
        assert (result.accuracy, result.others) == (0.25, {"long": 0.5})
        assert result.quality is not None
    else:
        assert (result.accuracy, result.chance, result.quality) == (None, None, None)
        assert [*result.others] == [name, "long"]


@pytest.mark.parametrize(
    ("names", "is_share"),
    [
        (
            "acc acc_norm acc_bytes exact_match em f1 qa_f1_score pass@1 pass_at_k prompt_level_strict_acc bleu_acc",
            True,
        ),
        (
            "score grade bleu rougeL likelihood mcc acc_diff accuracy_percent f1_gap bertscore_f1 faccade bias_score",
            False,
        ),
    ],
)
def test_the_metrics_of_lm_evals_tasks_are_known_by_their_names(names: str, is_share: bool) -> None:
    from lm_eval.api.metrics import mean

    class Named:
        def aggregation(self) -> dict[str, Any]:
            return dict.fromkeys(names.split(), mean)

        def higher_is_better(self) -> dict[str, bool]:
            return dict.fromkeys(names.split(), True)

        def get_config(self, _key: str) -> None: ...

    assert {name: shares.is_share([Named()], name) for name in names.split()} == dict.fromkeys(names.split(), is_share)


def test_the_hash_is_of_the_task_by_itself_whatever_was_asked_first(folder: Path) -> None:
    question, lm = lmeval.load_task("tiny_sums", include=[str(folder)]), Likes()

    def asked(**how: Any) -> str:
        watch = lmmodels.watch_of(lm)
        return lmeval.ask(lm, watch, question, NoMeter(), window_s=0.0, how=Asking(limit=3, **how)).hash

    plain = lmeval.load_task("tiny_sums", include=[str(folder)]).hash
    assert {asked(max_gen_toks=3), asked(gen_kwargs="temperature=0"), asked(num_fewshot=2), asked()} == {plain}


def test_settings_of_generation_are_read_as_lm_eval_reads_them(folder: Path) -> None:
    class Keeps(Likes):
        def generate_until(self, requests: list[Any]) -> list[str]:
            self.settings = requests[0].args[1]
            return super().generate_until(requests)

    for text in ("until=['a,b','c'],max_gen_toks=3", '{"until": ["a,b", "c"], "max_gen_toks": 3}'):
        lm = Keeps()
        ask("tiny_sums", folder, lm, gen_kwargs=text)
        assert lm.settings == {"until": ["a,b", "c"], "max_gen_toks": 3, "do_sample": False}
    with pytest.raises(UsageError, match="not readable"):
        ask("tiny_sums", folder, gen_kwargs="hot")


def test_a_task_that_runs_what_a_model_writes_is_only_asked_if_that_is_allowed(folder: Path) -> None:
    (folder / "runs.yaml").write_text("include: tiny_sums.yaml\ntask: runs\nunsafe_code: true\n")
    with pytest.raises(UsageError, match="--allow-unsafe-code"):
        ask("runs", folder)
    assert ask("runs", folder, allow_unsafe_code=True).items
