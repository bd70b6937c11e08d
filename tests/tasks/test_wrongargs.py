"""Arguments of models that cannot be meant, and what is said of them; with lm-eval's own models and no network."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from huggingface_hub import constants

from joulemark.meters.errors import UsageError
from joulemark.tasks.lmmodels import load_model

URL = "base_url=http://127.0.0.1:9/v1/completions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the variable stands for is looked at when the library is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(("backend", "args", "said"), [
    ("hf", "pretraned={folder}", "hf takes no argument 'pretraned', but pretrained"),
    ("hf", "{folder}", "hf needs pretrained=."),
    ("hf", "pretrained={folder},dtpye=float32", "hf takes no argument 'dtpye', but dtype"),
    ("hf", "pretrained={folder},colour=red", "hf takes no argument 'colour'"),
    ("hf", "pretrained={folder},dtype=flaot32", "dtype=flaot32: torch has no such type; float32, float16 and"),
    ("hf", "pretrained={folder},tokenizer=./nowhere", "tokenizer=./nowhere: there is no such folder."),
    ("hf", "pretrained=some/model", "pretrained=some/model is no folder here and was not fetched before, and HF_"),
    # lm-eval lets these pass.
    ("local-completions", f"model=x,{URL},tokenizer_backend=None,max_retires=1", "'max_retires', but max_retries"),
    # It would look for a tokenizer of that name.
    ("local-completions", f"model=mine,{URL}", "the tokenizer of model=mine is no folder here"),
    ("local-completions", f"model=mine,{URL}", "tokenizer=FOLDER, or none: tokenizer_backend=None."),
])  # fmt: skip
def test_what_is_wrong_with_a_models_arguments_is_told_in_plain_words(
    backend: str, args: str, said: str, folder: Path
) -> None:
    with pytest.raises(UsageError) as problem:
        load_model(backend, args.format(folder=folder))
    assert said in str(problem.value)


def test_arguments_that_only_the_library_behind_lm_eval_knows_are_passed_on(folder: Path) -> None:
    model = load_model("hf", f"pretrained={folder},attn_implementation=eager")
    assert model.model.config._attn_implementation == "eager"


def test_what_is_wrong_with_something_else_is_told_as_it_was(folder: Path) -> None:
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken" / "config.json").write_text("{")
    with pytest.raises(OSError, match="not a valid JSON file"):
        load_model("hf", f"pretrained={folder.parent / 'broken'}")
