"""lm-eval's ``results_*.json``, with its samples, and with codecarbon's energy of the same process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from joulemark.meters.errors import UsageError
from joulemark.tasks.shares import MEANS, sounds_like_share

from ..record import ModelInfo, Station
from ..said import few
from .foreign import count, each, mapped, read_json, text
from .found import About, Found, Result
from .lmenergy import with_emissions
from .lmenvironment import station_told
from .lmsamples import Samples, read_samples, samples_for, samples_not_read
from .lmtogether import each_once, together
from .ownblock import Block, items_of, read_block, texts_of
from .ownsums import check_items

__all__ = ["ABOUT", "read"]

ABOUT: Final = About(
    reads="results_*.json, samples_*.jsonl, and maybe one emissions.csv of codecarbon",
    gives="accuracy; quality, with its samples; prompts and answers; energy, of codecarbon or of our own exports",
    never="energy by itself; the memory of the machine",
)

_NO_ENERGY = "lm-eval measures no energy, so none of its results has any."
_NO_SAMPLES = (
    "Without samples (lm_eval --log_samples) there is no interval of an accuracy, and what a guesser scores is not "
    "known, so there is no quality: {}."
)
_NO_OWN_SAMPLES = (
    "Without what came of single questions (joulemark export --samples keeps it in samples_TASK.jsonl) an accuracy has "
    "no interval, so there is no quality: {}."
)
_LIMITED = (
    "Not all questions were asked, so what a guesser scores on all of them is not known, and there is no quality: {}."
)
_NO_CHANCE = "Samples do not tell what a guesser scores, so there is no quality: {}."
_NO_SHARE = "The metric is no share of right answers, so there is no quality: {}."
_TOGETHER = "The metric is one of all questions together, so there is no quality: {}."
_BESIDE = "Not read, since their names have not the time of {1}, which tells that they are its own: {0}; name them too."
_NAMED = 6
_USUALLY_MEANS = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"})
"""Metrics of which lm-eval takes the mean where a task does not say how."""
_SAME = 1e-6


def read(files: Sequence[Path]) -> Found:
    """Read results, each with those samples that are given or lie beside it; of one run also codecarbon's energy.

    Args:
        files: ``results_*.json``, ``samples_*.jsonl`` and at most one ``emissions.csv``.

    Raises:
        UsageError: A file is none of these, cut short, or of another run than the others.
    """
    once = list(each(files))
    samples, tables = ([file for file in once if file.suffix.lower() == end] for end in (".jsonl", ".csv"))
    results = [file for file in once if file not in samples and file not in tables]
    if not results:
        raise UsageError(f"{once[0]}: name the results_*.json of lm-eval that it belongs to as well.")
    if tables and (len(tables) > 1 or len(results) > 1):
        raise UsageError(f"{tables[0]}: join one emissions.csv to one file of results at a time.")
    own, missing = each_once({file: samples_for(file, samples, results) for file in results})
    told = {file: _read_one(file, files) for file, files in own.items()}
    for table in tables:
        told = {file: with_emissions(one, file, table) for file, one in told.items()}
    found = together(told)
    if not any(result.energy for result in found.results):
        missing.insert(0, _NO_ENERGY)
    named = {file.absolute() for file in samples}
    return replace(
        found,
        missing=tuple(dict.fromkeys([*missing, *found.missing])),
        beside=tuple(file for files in own.values() for file in files if file.absolute() not in named),
    )


def _read_one(file: Path, files: Sequence[Path]) -> Found:
    content = read_json(file)
    scores = content.get("results")
    if not isinstance(scores, dict) or "config" not in content or not mapped(content.get("configs")):
        raise UsageError(f"{file}: it is no file of lm-eval's results: it lacks results, config or configs.")
    groups = {name for name, members in mapped(content.get("group_subtasks")).items() if members}
    groups |= set(mapped(content.get("groups")))
    tasks = [name for name in scores if name not in groups]
    if strange := [name for name in tasks if text(name) != name]:
        raise UsageError(f"{file}: a task has a name that is none: {text(strange[0]) or 'an empty one'}.")
    samples = read_samples(files, tasks)
    apart = [] if files else [own.name for own in samples_not_read(file, tasks)]
    missing = [_BESIDE.format(few(apart, 2), file.name)] if apart else []
    if block := read_block(content, file.name):
        own = _own(block, samples, file.name)
        return replace(own, missing=(*own.missing, *missing))
    missing += [f"Group {name} is taken apart: its tasks stand by themselves." for name in scores if name in groups]
    one = _One(content, file, station_told(content))
    results = [one.result(name, mapped(scores[name]), samples.get(name)) for name in tasks]
    if not results:
        raise UsageError(f"{file}: it has no results of any task.")
    return Found(results=tuple(results), stations=(one.station,), missing=(*missing, *one.missing), created_at=one.date)


def _own(block: Block, samples: Mapping[str, Samples], file: str) -> Found:
    """What Joulemark exported, as it was, but for what stands in samples that are not there."""
    results: list[Result] = []
    for result in block.results:
        told = samples.get(result.task)
        try:
            items = items_of(told.rows, result.repeat) if told else None
            if items is not None:
                check_items(result, items)
            texts = texts_of(told.rows, result.repeat, result.metric) if told else None
        except ValueError as problem:
            raise UsageError(f"{told.file if told else result.task}: {problem}.") from problem
        results.append(replace(result, items=items, samples=texts, file=file))
    without = dict.fromkeys(one.task for one in results if one.quality is not None and one.items is None)
    lacks = [_NO_OWN_SAMPLES.format(few([*without], _NAMED))] if without else []
    return Found(
        results=tuple(results),
        stations=block.stations,
        missing=(*block.missing, *lacks),
        created_at=block.created_at,
        origins=block.origins,
        carbon=block.carbon,
    )


class _One:
    """A file of results.

    Attributes:
        station: The machine.
        date: When it began, UTC, ISO 8601; None where that is not told.
    """

    def __init__(self, content: Mapping[str, Any], file: Path, station: Station) -> None:
        self._content, self._file = content, file
        self._lacks: dict[str, list[str]] = {}
        self._config = mapped(content.get("config"))
        self.station, self.date = station, _date(content.get("date"))

    @property
    def missing(self) -> list[str]:
        """What the results so far lack, a sentence for all tasks that lack the same."""
        return [sentence.format(few(tasks, _NAMED)) for sentence, tasks in self._lacks.items()]

    def _lack(self, sentence: str, task: str) -> None:
        self._lacks.setdefault(sentence, []).append(task.replace("{", "(").replace("}", ")"))

    def result(self, task: str, scores: Mapping[str, Any], samples: Samples | None) -> Result:
        """What is told of a task."""
        values = {key: n for key, value in scores.items() if text(key) == key and (n := _number(value)) is not None}
        headline = samples.headline if samples else None
        key = ",".join(headline) if headline else next((k for k in scores if "," in k and "_stderr," not in k), None)
        if key is None or key not in values:
            raise UsageError(f"{self._file}: task {task} has no value of its metric{f' {key}' if key else ''}.")
        metric, _, filtered = key.partition(",")
        items = samples.items(metric, filtered) if samples else None
        is_share = self._is_share(task, metric) and 0 <= values[key] <= 1
        asked = count(mapped(self._told(task, "n-samples")).get("effective")) or count(scores.get("sample_len")) or 0
        if samples and items is not None:
            self._check(samples, items, asked, values[key] if is_share and self._is_mean(task, metric) else None)
            is_share = is_share and bool(items["score"].dropna().between(0, 1).all())
        elif is_share:
            self._lack(_NO_SAMPLES, task)
        if not is_share:
            self._lack(_NO_SHARE, f"{task} ({metric})")
        graded = is_share and items is not None and bool(items["score"].notna().all())
        if is_share and samples and not graded:
            self._lack(_TOGETHER, f"{task} ({metric})")
        chance = self._chance(task, filtered, samples, asked) if samples and graded else None
        others = {
            name.partition(",")[0]: value
            for name, value in values.items()
            if name.endswith(f",{filtered}") and name != key and "_stderr," not in name
        }
        quality = None if chance is None or chance >= 1 else 100 * (values[key] - chance) / (1 - chance)
        return Result(
            model=self._model,
            model_args=self._model_args,
            task=task,
            task_version=_word(self._told(task, "versions")),
            task_hash=_word(self._told(task, "task_hashes")),
            setting=self._setting(task),
            machine_id=self.station.machine.machine_id,
            n_items=len(items) if items is not None else asked,
            accuracy=values[key] if is_share else None,
            chance=chance,
            quality=quality,
            metric=metric,
            other_metrics=others if is_share else {metric: values[key]} | others,
            model_info=ModelInfo(params=count(self._config.get("model_num_parameters")) or None),
            items=items,
            samples=samples.texts(task, metric, filtered) if samples else None,
            flags=("no_chance",) if graded and chance is None else (),
            started_at=self.date,
            file=self._file.name,
        )

    def _check(self, samples: Samples, items: pd.DataFrame, asked: int, mean: float | None) -> None:
        """That samples are whole, and those of these results."""
        if asked and len(items) != asked:
            raise UsageError(f"{samples.file}: it has {len(items)} of {asked} questions; was it cut short?")
        scored = items["score"]
        if mean is not None and scored.notna().all() and abs(float(scored.mean()) - mean) > _SAME:
            raise UsageError(f"{samples.file}: its mean is not that of {self._file.name}, so it is of another run.")

    def _chance(self, task: str, filtered: str, samples: Samples, asked: int) -> float | None:
        whole = count(mapped(self._told(task, "n-samples")).get("original"))
        if whole != asked or not asked:
            self._lack(_LIMITED, task)
            return None
        config = self._task(task)
        doubled = any(name.startswith("acc_mutual_info,") for name in mapped(self._told(task, "results")))
        chance = samples.chance(filtered, choosing=config.get("output_type") == "multiple_choice", doubled=doubled)
        if chance is None:
            self._lack(_NO_CHANCE, task)
        return chance

    def _is_share(self, task: str, metric: str) -> bool:
        """As Joulemark's own runs have it (`tasks.shares`)."""
        if mapped(self._told(task, "higher_is_better")).get(metric) is not True:
            return False
        said = mapped(self._task(task).get("metadata")).get("share")
        return said if isinstance(said, bool) else sounds_like_share(metric, self._is_mean(task, metric))

    def _is_mean(self, task: str, metric: str) -> bool | None:
        listed = self._task(task).get("metric_list")
        named = [mapped(each) for each in listed] if isinstance(listed, list) else []
        way = next((each.get("aggregation") for each in named if each.get("metric") == metric), None)
        if way is None:
            return True if metric in _USUALLY_MEANS else None
        # A function of the task's own is there as its source.
        return str(way) in MEANS or str(way) == "f1" if str(way).isidentifier() else None

    def _setting(self, task: str) -> dict[str, Any]:
        config, content = self._config, self._content
        batch, limit = config.get("batch_size"), _number(config.get("limit"))
        shown = _number(self._told(task, "n-shot"))
        found: dict[str, Any] = {"limit": int(limit) if limit is not None and limit == int(limit) else limit}
        found |= {"batch_size": whole if (whole := count(batch)) is not None else _word(batch)}
        found |= {"num_fewshot": None if shown is None else int(shown)}
        if kwargs := config.get("gen_kwargs"):
            found["gen_kwargs"] = _pairs(kwargs)
        if instruction := text(content.get("system_instruction")):
            found["system_instruction"] = instruction
        if content.get("chat_template"):
            found["apply_chat_template"] = True
        if dtype := _word(config.get("model_dtype")):
            found["dtype"] = dtype.removeprefix("torch.")
        return found

    @property
    def _model(self) -> str:
        args = mapped(self._config.get("model_args"))
        names = self._content.get("model_name"), args.get("pretrained"), args.get("model"), self._config.get("model")
        return next((name for each in names if (name := text(each))), "unnamed model")

    @property
    def _model_args(self) -> str:
        args = self._config.get("model_args")
        return f"{_word(self._config.get('model')) or 'unknown'}:{_pairs(args) if args else ''}"

    def _task(self, task: str) -> Mapping[str, Any]:
        return mapped(self._told(task, "configs"))

    def _told(self, task: str, key: str) -> Any:
        return mapped(self._content.get(key)).get(task)


def _number(value: Any) -> float | None:
    """A finite number; None for all else, such as lm-eval's ``N/A``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def _word(value: Any) -> str | None:
    return text(value) if isinstance(value, str) else str(value) if _number(value) is not None else None


def _pairs(value: Any) -> str:
    """Arguments as ``k=v,k=v``, as a command line has them."""
    pairs = ",".join(f"{key}={own}" for key, own in value.items()) if isinstance(value, Mapping) else str(value)
    return text(pairs) or ""


def _date(value: Any) -> str | None:
    number = _number(value)
    if number is None or not 0 < number < 1e11:
        return None
    return datetime.fromtimestamp(number, UTC).isoformat(timespec="milliseconds")
