"""optimum-benchmark: ``benchmark.json``, or ``benchmark_report.json`` with the ``benchmark_config.json`` beside it.

Layouts after github.com/huggingface/optimum-benchmark at b263af4 (``benchmark/report.py``, ``trackers``, ``scenarios/
inference`` and ``energy_star``), and files that its version 0.6.0 wrote. Energy is what codecarbon says of the whole
machine, by component.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joulemark.meters.errors import UsageError

from ..record import MEAN_ANSWER, Latency, MeterInfo, ModelInfo, Phases, Station, Tokens
from .foreign import (
    J_PER_KWH,
    UNKNOWN,
    Gathering,
    amount,
    count,
    each,
    energy_of,
    listed,
    mapped,
    meter_of,
    read_json,
    station_of,
    text,
)
from .found import About, Found, Result

__all__ = ["ABOUT", "read"]

NAME: Final = "optimum-benchmark"
ABOUT: Final = About(
    reads="benchmark.json, or benchmark_report.json with its benchmark_config.json",
    gives="energy of a batch or a data set, of the GPUs or else the CPU, latency, tokens",
    never="quality; its error; idle power; of how many calls a mean is; when it was measured",
)

_ALWAYS = (
    "optimum-benchmark grades no answers: there is no quality, and nothing here is ranked.",
    "Energy is codecarbon's; its error and the idle power are not told.",
    "codecarbon's figure for memory is an assumed power, not a measurement; it is left out.",
)
_CPU = (
    "Whether codecarbon read the CPU's counters or estimated the CPU from its load is not told: graded modelled. It is "
    "that of the whole machine, whatever else ran."
)
_GPU = (
    "Of the machine the GPUs alone are taken, since codecarbon's figure for the CPU may be an estimate. It reads a "
    "GPU's counter of joules, or adds up its power where that fails; which it was is not told: graded polled, the "
    "lesser."
)
_CALL = (
    "The inference scenario asks random tokens, one batch over and over: a row stands for one mean call. How many "
    "calls that is the mean of, and how long they took together, is not told."
)
_MAIN = ("generate", "call", "forward")
"""What a scenario measures in the end, by the kind of model."""


@dataclass(frozen=True, kw_only=True)
class _Told:
    """A benchmark: what was asked for, and what came of it."""

    file: Path
    config: Mapping[str, Any]
    report: Mapping[str, Any]


def read(files: Sequence[Path]) -> Found:
    """Read benchmarks, or reports with their configurations, in any order.

    Raises:
        UsageError: A file is of another format, or cut short, or a report lacks its configuration.
    """
    gathering = Gathering(NAME)
    for sentence in _ALWAYS:
        gathering.lack(sentence)
    for told in _whole([(file, read_json(file)) for file in each(files)]):
        _add(told, gathering)
    return gathering.found()


def _whole(documents: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[_Told]:
    """The benchmarks; of a report that stands alone the configuration is the one from the same folder."""
    configs = {file.absolute().parent: told for file, told in documents if "backend" in told and "scenario" in told}
    found = []
    for file, told in documents:
        if isinstance(told.get("config"), dict) and isinstance(told.get("report"), dict):
            found.append(_Told(file=file, config=told["config"], report=told["report"]))
        elif "load_model" in told:
            config = configs.get(file.absolute().parent)
            if config is None:
                raise UsageError(f"{file}: it does not name the model: name the benchmark_config.json beside it too.")
            found.append(_Told(file=file, config=config, report=told))
        elif not ("backend" in told and "scenario" in told):
            raise UsageError(f"{file}: it is no benchmark.json, report or configuration of optimum-benchmark.")
    if not found:
        raise UsageError("A benchmark_config.json alone holds no results: name its benchmark_report.json too.")
    return found


def _add(told: _Told, gathering: Gathering) -> None:
    backend, scenario = mapped(told.config.get("backend")), mapped(told.config.get("scenario"))
    model = text(backend.get("model"))
    if model is None:
        raise UsageError(f"{told.file}: its configuration names no model.")
    name, where = text(scenario.get("name")), f"{told.file.name} of {model}"
    asked = _questions(scenario)
    if name not in ("inference", "energy_star") or not asked:
        gathering.leave_out(f"{where}: its scenario, {name or UNKNOWN}, tells no number of answers")
        return
    station, meter = _place(told.config, gathering)
    part = "gpu" if meter.scope == "gpu" else "cpu"
    phases = {key: _joules(told.report, key, part, where, gathering) for key in ("load_model", "prefill", "decode")}
    main = _main_phase(told.report)
    gross_j = _joules(told.report, main, part, where, gathering) if main else _generated(told.report, part)
    if gross_j is None:
        gathering.lack(f"{where}: it has no energy that can be told (scenario.energy=true measures it).")
    if name == "inference":
        gathering.lack(_CALL)
    measured = mapped(told.report.get(main or "decode"))
    gathering.add(
        Result(
            model=model,
            task="/".join(filter(None, (NAME, text(backend.get("task")) or UNKNOWN, _data_of(scenario)))),
            setting=_setting(backend, scenario),
            machine_id=gathering.place(station),
            n_items=asked,
            energy=energy_of(gross_j, meter=meter, window_s=_seconds(told.report) if not main else None),
            phases=Phases(load_j=phases["load_model"], prefill_j=phases["prefill"], decode_j=phases["decode"]),
            tokens=_tokens(name, scenario) if main == "generate" else Tokens(),
            latency_s=_latency(measured) if name == "inference" else Latency(),
            model_info=ModelInfo(peak_rss_mb=amount(mapped(measured.get("memory")).get("max_ram"))),
            flags=(MEAN_ANSWER,) if name == "inference" else (),
        )
    )


def _questions(scenario: Mapping[str, Any]) -> int | None:
    """Answers that a figure is of: those of a batch, or of the whole data set."""
    if scenario.get("name") == "energy_star":
        return count(scenario.get("num_samples")) or None
    return count(mapped(scenario.get("input_shapes")).get("batch_size")) or None


def _place(config: Mapping[str, Any], gathering: Gathering) -> tuple[Station, MeterInfo]:
    backend, around = mapped(config.get("backend")), mapped(config.get("environment"))
    gpus = _gpus(backend, around)
    if backend.get("device") == "cuda":
        gathering.lack(_GPU)
        meter = meter_of(f"{NAME}:gpu", grade="polled", scope="gpu", provenance="codecarbon, NVML", grade_told=False)
    else:
        gathering.lack(_CPU)
        meter = meter_of(f"{NAME}:cpu", grade="modelled", scope="package", provenance="codecarbon", grade_told=False)
    megabytes = amount(around.get("cpu_ram_mb"))
    station = station_of(
        gpus=gpus or ([UNKNOWN] if meter.scope == "gpu" else []),
        meters=[meter],
        cpu_model=text(around.get("cpu")),
        cpu_count=count(around.get("cpu_count")) or None,
        memory_gb=round(megabytes / 1073.741824, 1) if megabytes else None,  # Of 10^6 bytes: total / 1e6.
        system=" ".join(filter(None, (text(around.get(key)) for key in ("system", "machine")))) or None,
        kernel=text(around.get("platform")),
        software=_software(around),
    )
    return station, meter


def _gpus(backend: Mapping[str, Any], around: Mapping[str, Any]) -> list[str]:
    """Names of the GPUs in use, of all where it is not told which."""
    if backend.get("device") != "cuda":
        return []
    names = [text(name) or UNKNOWN for name in listed(around.get("gpu"))][:1024]
    used = [count(part.strip()) for part in str(backend.get("device_ids") or "").strip("[]").split(",")][:1024]
    if not used or any(at is None or at >= len(names) for at in used):
        return names
    return [names[at] for at in used if at is not None]


def _software(around: Mapping[str, Any]) -> dict[str, str]:
    told = {key.removesuffix("_version"): text(value) for key, value in around.items() if key.endswith("_version")}
    return {name: version for key, version in sorted(told.items())[:40] if version and (name := text(key))}


def _main_phase(report: Mapping[str, Any]) -> str | None:
    return next((key for key in _MAIN if mapped(mapped(report.get(key)).get("energy"))), None) or next(
        (key for key in _MAIN if key in report), None
    )


def _joules(report: Mapping[str, Any], key: str, part: str, where: str, gathering: Gathering) -> float | None:
    energy = mapped(mapped(report.get(key)).get("energy"))
    if not energy:
        return None
    told = energy.get(part)
    if energy.get("unit") != "kWh" or isinstance(told, bool) or not isinstance(told, int | float):
        gathering.lack(f"{where}: its energy of {key} is no number of kWh; left out.")
        return None
    kwh = amount(told)
    if kwh is None:
        # Decoding is not measured: it is generating less prefilling, and noise can make that less than nothing.
        gathering.lack(f"{where}: its energy of {key} is {'0, a failure' if told == 0 else 'impossible'}; left out.")
    return kwh * J_PER_KWH if kwh else None


def _generated(report: Mapping[str, Any], part: str) -> float | None:
    """What generating took, which the energy_star scenario tells less prefilling, as decoding: both together."""
    parts = [mapped(mapped(report.get(key)).get("energy")) for key in ("prefill", "decode")]
    kwh = [energy.get(part) for energy in parts if energy.get("unit") == "kWh"]
    numbers = [value for value in kwh if isinstance(value, int | float) and not isinstance(value, bool)]
    whole = amount(math.fsum(numbers)) if len(numbers) == 2 and all(abs(value) < 1e9 for value in numbers) else None
    return whole * J_PER_KWH if whole else None


def _seconds(report: Mapping[str, Any]) -> float | None:
    seconds = [amount(mapped(mapped(report.get(key)).get("latency")).get("total")) for key in ("prefill", "decode")]
    return None if None in seconds else sum(value for value in seconds if value)


def _setting(backend: Mapping[str, Any], scenario: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "backend": text(backend.get("name")),
        "dtype": text(backend.get("torch_dtype")),
        "quantization": text(backend.get("quantization_scheme")),
        "batch_size": count(mapped(scenario.get("input_shapes")).get("batch_size")),
        "gen_kwargs": _shape(scenario),
        "max_gen_toks": count(mapped(scenario.get("generate_kwargs")).get("max_new_tokens")),
    }
    return {key: value for key, value in told.items() if value}


def _data_of(scenario: Mapping[str, Any]) -> str | None:
    """The data set that was asked; the inference scenario asks random tokens."""
    names = [text(scenario.get(key)) for key in ("dataset_name", "dataset_config", "dataset_split")]
    return ":".join(filter(None, names)) or None


def _shape(scenario: Mapping[str, Any]) -> str | None:
    """Of what a batch of the inference scenario consists, as ``gen_kwargs``, which tell questions apart."""
    shapes = {str(key)[:40]: count(value) for key, value in mapped(scenario.get("input_shapes")).items()}
    return ",".join(f"{key}={shapes[key]}" for key in sorted(shapes)[:10] if key != "batch_size") or None


def _tokens(name: str, scenario: Mapping[str, Any]) -> Tokens:
    """Of one call: all its prompts are equally long, and the least number of new tokens is also the most."""
    if name != "inference":
        return Tokens()
    shapes, asked = mapped(scenario.get("input_shapes")), mapped(scenario.get("generate_kwargs"))
    batch, length, new = count(shapes.get("batch_size")), count(shapes.get("sequence_length")), None
    if asked.get("min_new_tokens") == asked.get("max_new_tokens") and asked.get("num_beams", 1) == 1:
        new = count(asked.get("max_new_tokens"))
    return Tokens(prompt=batch * length if batch and length else None, generated=batch * new if batch and new else None)


def _latency(measured: Mapping[str, Any]) -> Latency:
    told = mapped(measured.get("latency"))
    if told.get("unit") != "s":
        return Latency()
    return Latency(p50=amount(told.get("p50")), p95=amount(told.get("p95")))
