"""The block of a model card, read by the hub's own library."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.harness.importing import import_files
from joulemark.harness.record import Carbon, Cell
from joulemark.harness.store import Run, read_run
from joulemark.reports.exports.modelcard import as_model_card
from joulemark.reports.folders import without_folders
from joulemark.reports.views import make_views

EVIL = "a: [b]\n---\n# <script>x</script> | c"


def card_of(run: Run, entrant: str | None = None) -> ModelCard:
    return ModelCard(as_model_card(run, entrant).decode())


def told_by(card: ModelCard) -> dict[tuple[str, str], Any]:
    """Results by task and metric."""
    return {(each.dataset_type, each.metric_type): each for each in card.data.eval_results}


def with_carbon(run: Run) -> Run:
    header = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    header["carbon"] = Carbon(g_per_kwh=56.0, source="a table", year=2023).model_dump()
    (run.path / "run.json").write_text(json.dumps(header), encoding="utf-8")
    return read_run(run.path)


def test_the_hub_reads_back_the_figures_of_the_table(make_run: Callable[..., Run]) -> None:
    run = make_run()
    results = told_by(card_of(run, "dense-60k"))
    for view in make_views([run]):
        [row] = [row for row in view.rows if row.model == "dense-60k"]
        energy = results[view.task, "energy_wh_per_1k"]
        assert results[view.task, "quality"].metric_value == pytest.approx(row.quality, rel=1e-5)
        assert energy.metric_value == pytest.approx(row.energy_wh_per_1k, rel=1e-5)
        assert energy.metric_args["low_95"] == pytest.approx(row.energy_wh_per_1k_low, rel=1e-5)
        assert (energy.metric_args["grade"], energy.metric_args["scope"]) == ("modelled", "package")
    assert results["dates", "exact_match"].metric_value == pytest.approx(
        next(cell.accuracy for cell in run.cells if (cell.model, cell.task) == ("dense-60k", "dates"))
    )


def test_the_hubs_library_writes_the_same_index_again(make_run: Callable[..., Run]) -> None:
    card = card_of(make_run(), "dense-60k")
    again = ModelCard(f"---\n{card.data.to_yaml()}\n---\n")
    assert again.data.eval_results == card.data.eval_results
    assert card.data.model_name == "dense-60k"


def test_carbon_is_told_only_where_the_run_was_told_what_a_kilowatt_hour_stands_for(
    make_run: Callable[..., Run],
) -> None:
    run = make_run()
    assert "co2" not in as_model_card(run, "dense-60k").decode()
    told = card_of(with_carbon(run), "dense-60k").data.co2_eq_emissions
    [row] = [row for row in make_views([run], task="all")[0].rows if row.model == "dense-60k"]
    assert told["emissions"] == pytest.approx(row.energy_wh_per_1k / 1000 * 56.0, rel=1e-5)
    assert "not for training" in told["source"]
    assert "a table" in told["source"]


def test_what_is_missing_is_left_out_and_said_below(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        lost = {"energy": None} if cell.model == "ngram" else {"chance": None, "quality": None, "accuracy": None}
        return cell.model_copy(update=lost)

    run = make_run(change=change, repeats=1)
    kinds = {kind for _, kind in told_by(card_of(run, "dense-60k"))}
    assert "energy_wh_per_1k" in kinds
    assert not kinds & {"quality", "correct_per_wh", "exact_match"}
    text = as_model_card(run, "dense-60k").decode()
    assert "Energy has no interval: one repeat" in text
    assert "no quality for" in text
    kinds = {kind for _, kind in told_by(card_of(run, "ngram"))}
    assert not kinds & {"energy_wh_per_1k", "correct_per_wh"}
    assert "no energy for" in as_model_card(run, "ngram").decode()


def test_no_name_can_break_out_of_the_block_or_the_table(make_run: Callable[..., Run], tmp_path: Path) -> None:
    def change(cell: Cell) -> Cell:
        return cell.model_copy(update={"model": EVIL, "task": EVIL + cell.task})

    text = as_model_card(make_run(models={"mine": (0.7, 0.001, 1)}, change=change)).decode()
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.model_name == EVIL.replace("\n", "\ufffd")
    assert text.splitlines().count("---") == 2
    below = text.rpartition("---\n")[2]
    assert "<script>" not in below
    rows = [line for line in below.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}


def test_no_card_names_a_folder_of_somebodys_machine(make_run: Callable[..., Run]) -> None:
    def change(cell: Cell) -> Cell:
        setting = cell.setting | {"tokenizer": "/home/jo hn/tok", "peft": "~/mine/lora-8", "revision": "ours/v2"}
        return cell.model_copy(update={"model": "/home/jo hn/models/tiny-llama/", "setting": setting})

    text = as_model_card(make_run(models={"mine": (0.7, 0.001, 1)}, change=change)).decode()
    assert "name: tiny-llama\n" in text
    assert "peft=lora-8" in text
    assert "revision=ours/v2" in text, "a maker is no folder"
    assert not any(secret in text for secret in ("home", "jo hn/", "mine/"))


LETTERS = string.ascii_letters + string.digits + "äß _-.()&+@"
FOLDER = st.builds("{}secret{}".format, st.text(LETTERS, max_size=6), st.text(LETTERS, max_size=6))
BEGINS = ("/", "~/", "~secret/", "./", "../", "file:///", "$HOME/", "${SCRATCH}/", "%USERPROFILE%\\", "C:\\", "D:/")
PATH = st.builds(
    lambda begin, folders, slash: begin + slash.join([*folders, "kept"]),
    st.sampled_from(BEGINS),
    st.lists(FOLDER, min_size=1, max_size=4),
    st.sampled_from("/\\"),
)


@pytest.fixture(scope="module")
def small_run(write: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    one = {"mine": (0.7, 0.001, 1)}
    return write(tmp_path_factory.mktemp("card") / "run", one, tasks=("dates",), items=20, repeats=1)


@settings(max_examples=40, deadline=None)
@given(paths=st.tuples(PATH, PATH, PATH), made=st.sampled_from(["{}", "hf:pretrained={},peft={}", "gguf:{}"]))
def test_no_folder_of_any_path_in_a_name_or_a_setting_is_in_a_card(
    small_run: Run, paths: tuple[str, str, str], made: str
) -> None:
    first, second, third = paths
    setting = {"peft": first, "model_args": f"dtype=auto,tokenizer={second},peft={third}", "stop": [first, third]}
    update = {"model": made.format(*paths), "setting": small_run.cells[0].setting | setting}
    text = as_model_card(replace(small_run, cells=tuple(cell.model_copy(update=update) for cell in small_run.cells)))
    assert "secret" not in text.decode()
    assert "peft=kept" in text.decode()


@pytest.mark.parametrize(
    "sign", ["`{}`", "|{}|", "\u2039{}\u203a", "{{{}}}", "\u201c{}\u201d", "({})", "'{}'", "<{}>", "+{}", "-{}"]
)
def test_in_a_sentence_a_path_is_known_after_any_sign(sign: str) -> None:
    for begin in BEGINS:
        path = f"{begin}secret/secret secret/kept" if sign[0] not in "<+-" else f"{begin}secret/kept"
        assert without_folders(f"As {sign.format(path)} tells") == f"As {sign.format('kept')} tells"


@pytest.mark.parametrize(
    "text",
    [
        "5 kWh /h and 3 J/token",
        "of maker/model and/or maker/other",
        "base_url=https://host:8000/v1/completions",
        "until=['\\n\\n', 'Q:\\nA:\\n', '</s>', '<|/x|>']",
        "Answer at once: /no_think",
    ],
)
def test_what_only_looks_like_a_path_is_left_as_it_is(text: str) -> None:
    assert without_folders(text, [text, text.partition("=")[2]]) == text


def test_energy_of_unknown_error_is_called_that_and_not_one_repeat(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    files = Path(__file__).parents[1] / "formats" / "data" / "mlenergy" / "lm-arena-chat.json"
    import_files("ml-energy", [files], tmp_path / "theirs")
    run = read_run(tmp_path / "theirs")
    text = as_model_card(run, "made/moe-30b").decode()
    assert "Energy has no interval: its error is not known." in text
    assert "repeat" not in text
    assert "2 x B200" in text
    assert "- Which machine of its kind measured is not told" in text
    assert "one repeat" in as_model_card(make_run(repeats=1), "dense-60k").decode()


def test_figures_of_a_column_have_the_same_decimals(make_run: Callable[..., Run]) -> None:
    poor = {"mine": (0.0, 0.001, 1)}
    for run in (make_run("poor", models=poor), make_run("one", models=poor, repeats=1)):
        rows = [line.split("|")[2:] for line in as_model_card(run).decode().splitlines() if line.startswith("| ")][1:]
        for column in zip(*rows, strict=True):
            figures = [cell.split()[0] for cell in column if cell.strip()[:1].isdigit()]
            assert len({len(figure.partition(".")[2]) for figure in figures}) <= 1, figures
        assert rows[0][0].split()[0] == "0.000"
