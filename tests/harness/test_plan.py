from collections import Counter
from pathlib import Path

import pytest

from joulemark.harness.models import card, is_replica, parse_model, reference_models
from joulemark.harness.plan import PRESETS, make_plan
from joulemark.harness.schedule import schedule
from joulemark.meters.errors import UsageError
from joulemark.tasks.catalog import REFERENCE_TASKS, THREE_SHOT


def test_without_a_word_some_reference_models_meet_all_reference_tasks_three_times() -> None:
    plan = make_plan(None, {})
    kinds = [card(name.removeprefix("ref/"))["kind"] for name in plan.models]
    assert kinds == ["ngram", "dense", "dense", "dense", "moe", "cascade", "int8"]
    assert plan.tasks == tuple(task.name for task in REFERENCE_TASKS)
    assert (plan.repeats, plan.limit) == (3, 100)


def test_the_full_preset_asks_every_model_but_replicas_all_questions() -> None:
    plan = make_plan(None, {}, "full")
    assert plan.models == tuple(f"ref/{name}" for name in reference_models() if not is_replica(name))
    assert {card(name.removeprefix("ref/"))["kind"] for name in plan.models} == {
        "ngram", "dense", "moe", "early-exit", "int8", "cascade"
    }  # fmt: skip
    assert (plan.repeats, plan.limit) == (3, None)


def test_no_preset_has_a_replica_or_a_variant() -> None:
    for preset in PRESETS:
        plan = make_plan(None, {}, preset)
        assert not [name for name in plan.models if is_replica(name.removeprefix("ref/"))]
        assert not {task.name for task in THREE_SHOT} & set(plan.tasks)


def test_the_command_line_stands_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('[run]\ntasks = ["jm_units"]\nrepeats = 7\nseed = 5\n')
    plan = make_plan(file, {"repeats": 2})
    assert (plan.tasks, plan.repeats, plan.seed, plan.limit) == (("jm_units",), 2, 5, 100)


def test_what_the_command_line_sweeps_or_sets_takes_the_place_of_the_files_word_on_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("[run]\nbatch_size = 8\n[run.sweep]\nthreads = [1, 2]\ndtype = ['float32']\n")
    swept = make_plan(file, {"sweep": {"batch_size": (1, 2)}})
    assert (swept.batch_size, swept.sweep) == (None, {"batch_size": (1, 2)})
    assert make_plan(file, {"threads": 2}).sweep == {"dtype": ("float32",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nrepeat = 3\n", "no key 'repeat'; did you mean 'repeats'"),
        ("[run]\nrepeats = 0\n", "repeats: input should be greater than or equal to 1"),
        ('[run]\norder = "random"\n', "order: input should be 'interleaved', 'abba' or 'blocked'"),
        ("[run]\nmodels = []\n", "models: "),
        ('[run]\nmodels = "ref/ngram"\n', "models: write a list of texts"),
        ("repeats = 3\n[run]\nseed = 1\n", r"'repeats' stands outside of \[run\]"),
        ("[run\n", "not valid TOML"),
        ("repeats = 3\n", r"no \[run\] table"),
        ("[run]\n[sweep]\nbatch_size = [1, 8]\n", r"a table \[sweep\], which nothing reads; write \[run.sweep\]"),
        ("[runn]\nrepeats = 3\n", r"a table \[runn\]; did you mean \[run\]"),
        ('[run]\ndtype = "bflot16"\n', "no dtype is called 'bflot16'"),
        ('[run]\nprecision = "x%"\n', "precision: write a share such as 5% or 0.05"),
        ("[run]\nthreads = 1\nsweep = { threads = [1, 2] }\n", "plan.toml: threads is given and swept"),
    ],
)
def test_a_plan_with_a_mistake_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        make_plan(file, {})
    assert "\n" not in str(caught.value)


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.toml: No such file"):
        make_plan(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("text", "name", "backend", "args"),
    [
        ("ref/ngram", "ref/ngram", "ref", "ngram"),
        ("base=ref/ngram", "base", "ref", "ngram"),
        ("mine=hf:pretrained=/a/b,dtype=float32", "mine", "hf", "pretrained=/a/b,dtype=float32"),
        ("far=local-completions:base_url=http://127.0.0.1:1/v1", "far", "local-completions",
         "base_url=http://127.0.0.1:1/v1"),
    ],
)  # fmt: skip
def test_models_are_named_in_the_ways_that_the_help_says(text: str, name: str, backend: str, args: str) -> None:
    spec = parse_model(text)
    assert (spec.name, spec.backend, spec.args) == (name, backend, args)


@pytest.mark.parametrize("text", ["ref/dense-60", "dense-60k", "hf:pretrained=x", "a=", "=ref/ngram"])
def test_a_wrong_model_is_told_what_to_write_instead(text: str) -> None:
    with pytest.raises(UsageError, match="joulemark models"):
        parse_model(text)


def cells(order: str, seed: int = 0) -> list[tuple[str, str, int]]:
    plan = make_plan(None, {"order": order, "seed": seed, "repeats": 4})
    planned = schedule(plan, [parse_model(m) for m in plan.models], range(1, 5))
    return [(c.spec.name, c.task, c.repeat) for c in planned]


@pytest.mark.parametrize("order", ["interleaved", "abba", "blocked"])
def test_every_order_has_every_cell_once(order: str) -> None:
    counts = Counter(cells(order))
    plan = make_plan(None, {})
    assert set(counts.values()) == {1}
    assert len(counts) == len(plan.models) * len(plan.tasks) * 4


def test_the_same_seed_gives_the_same_order_and_another_seed_another() -> None:
    assert cells("interleaved", 1) == cells("interleaved", 1) != cells("interleaved", 2)


def test_interleaving_finishes_a_repeat_before_the_next() -> None:
    repeats = [repeat for _, _, repeat in cells("interleaved")]
    assert repeats == sorted(repeats)


def test_abba_goes_there_and_back() -> None:
    names = [name for name, task, repeat in cells("abba") if task == "jm_units" and repeat <= 2]
    assert names == names[::-1]


def test_cell_ids_are_unique_and_fit_for_file_names_whatever_the_model_is_called() -> None:
    plan = make_plan(None, {"repeats": 2})
    specs = [parse_model("../../etc=ref/ngram"), parse_model("a b/c=ref/ngram"), parse_model("a-b-c=ref/ngram")]
    ids = [cell.cell_id for cell in schedule(plan, specs, (1, 2))]
    assert len(set(ids)) == len(ids)
    assert all("/" not in cell_id and not cell_id.startswith(".") for cell_id in ids)
