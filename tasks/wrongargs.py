"""What is wrong with the arguments that a model of lm-eval's was to be made from, in words that say what to do."""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from joulemark.meters.errors import UsageError

__all__ = ["in_plain_words", "refuse_ignored"]

_NAMES = ("pretrained", "tokenizer", "peft", "delta", "model")
"""Arguments that name a folder, or a model of the Hugging Face hub."""

_NO_DTYPE = re.compile(r"module 'torch' has no attribute '(\w+)'")


def refuse_ignored(backend: str, kind: type[LM], given: Mapping[str, Any]) -> None:
    """See that each argument means something to lm-eval's clients of servers, which let pass what they do not know.

    Raises:
        UsageError: One does not.
    """
    known = _known(kind)
    if any(base.__name__ == "TemplateAPI" for base in kind.__mro__):
        for name in given:
            if name not in known:
                raise _unknown(backend, name, known)


def in_plain_words(backend: str, kind: type[LM], given: Mapping[str, Any], problem: Exception) -> UsageError | None:
    """What an exception that came of making a model says of the arguments; None where it is about something else."""
    if isinstance(problem, TypeError):
        return _wrong_name(backend, kind, given, str(problem))
    if isinstance(problem, AttributeError) and (found := _NO_DTYPE.fullmatch(str(problem))):
        return UsageError(
            f"dtype={found[1]}: torch has no such type; float32, float16 and bfloat16 are some that it has."
        )
    if isinstance(problem, OSError):
        return _not_found(given, problem)
    if "not compiled with CUDA" in str(problem):
        return UsageError(f"device={given.get('device', 'cuda')}: the torch that is installed here has no CUDA")
    return None


def _wrong_name(backend: str, kind: type[LM], given: Mapping[str, Any], said: str) -> UsageError | None:
    known, quoted = _known(kind), re.findall(r"'(\w+)'", said)
    unknown = [name for name in given if name not in known]
    if "unexpected keyword argument" in said:
        return next((_unknown(backend, name, known) for name in unknown if name in quoted), None)
    if "missing" in said and "required" in said and quoted:
        meant = next((name for name in unknown if difflib.get_close_matches(name, quoted, n=1)), None)
        return _unknown(backend, meant, quoted) if meant else UsageError(f"{backend} needs {quoted[0]}=.")
    return None


def _unknown(backend: str, name: str, known: Collection[str]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    return UsageError(f"{backend} takes no argument {name!r}{f', but {close[0]}' if close else ''}")


def _known(kind: type[LM]) -> set[str]:
    """The names of all arguments that a type of models, or one that it is made of, says that it takes."""
    found: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    return found - {"self"}


def _not_found(given: Mapping[str, Any], problem: OSError) -> UsageError | None:
    """Of a model that is no folder here, and that the hub does not have or cannot be asked for."""
    causes = {type(cause).__name__ for cause in _causes(problem)}
    named = [(key, str(given[key])) for key in _NAMES if given.get(key)]
    key, value = next(((key, value) for key, value in named if not Path(value).is_dir()), ("", ""))
    if "HFValidationError" in causes:
        return UsageError(f"{key}={value}: there is no such folder.") if key else None
    # A client asks for the tokenizer that its model's name stands for, unless told of another.
    advice = "name a folder: tokenizer=FOLDER, or none: tokenizer_backend=None" if key == "model" else "name a folder"
    what = f"{'the tokenizer of ' if key == 'model' else ''}{key}={value}"
    if "RepositoryNotFoundError" in causes and key:
        return UsageError(f"{what} is neither a folder here nor known to the Hugging Face hub; {advice}.")
    if "LocalEntryNotFoundError" in causes and key:
        silent = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
        why = "HF_HUB_OFFLINE forbids to fetch it" if silent else "the Hugging Face hub cannot be reached"
        return UsageError(f"{what} is no folder here and was not fetched before, and {why}; {advice}.")
    return None


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
