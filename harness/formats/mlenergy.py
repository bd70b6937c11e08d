"""ML.ENERGY: the benchmark's ``results.json`` (version 3), and the leaderboard's ``data/tasks`` and ``data/models``.

Layouts after github.com/ml-energy/benchmark at c1d6557 (``mlenergy/benchmark/llm/benchmark.py``, ``diffusion/
benchmark.py``, ``docs/analyzing-results.md``) and github.com/ml-energy/leaderboard at 0cd52da (``scripts/
build_data.py``, ``public/data``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from joulemark.meters.errors import UsageError
from joulemark.meters.types import Grade

from ..record import MEAN_ANSWER, Latency, MeterInfo, ModelInfo, Tokens
from .foreign import (
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
    utc,
)
from .found import About, Found, Result

__all__ = ["ABOUT", "read"]

NAME: Final = "ml-energy"
ABOUT: Final = About(
    reads="the benchmark's results.json, the leaderboard's data/tasks/*.json and data/models/*.json",
    gives="energy of the GPUs in a steady state or a whole benchmark, latency, tokens, parameters",
    never="quality; its error; idle power; the rest of the machine; of the leaderboard when, and of how many answers",
)

_ALWAYS = (
    "ML.ENERGY grades no answers: there is no quality, and nothing here is ranked.",
    "Energy is that of the GPUs alone, without the rest of the machine; its error and the idle power are not told.",
    "Which machine of its kind measured is not told; machines that are described alike count as one.",
)
_STEADY = (
    "Energy of a response is the steady state's energy per token times the tokens of the answers, as ML.ENERGY "
    "publishes it: filling and draining the batch are left out (flag steady_state)."
)
_PER_ONE = (
    "How many responses a figure of the leaderboard is the mean of is not told: a row stands for one mean response."
)


def read(files: Sequence[Path]) -> Found:
    """Read results of the benchmark, files of the leaderboard's data, or both.

    Raises:
        UsageError: A file is of another format, or cut short.
    """
    gathering = Gathering(NAME)
    for sentence in _ALWAYS:
        gathering.lack(sentence)
    for file in each(files):
        told = read_json(file)
        if isinstance(told.get("configurations"), list):
            _read_board(told, file, gathering)
        elif "model_id" in told and ("steady_state_energy" in told or "entire_benchmark_measurement" in told):
            _read_requests(told, file, gathering)
        elif "model_id" in told and "total_images" in told:
            _read_images(told, file, gathering)
        elif "models" in told and "tasks" in told:
            raise UsageError(f"{file}: the leaderboard's index holds no energy; name files of its tasks/ or models/.")
        else:
            raise UsageError(f"{file}: it is no results.json of ML.ENERGY's benchmark, and none of its leaderboard.")
    return gathering.found()


def _read_board(told: Mapping[str, Any], file: Path, gathering: Gathering) -> None:
    task = text(told.get("task"))
    if task is None:
        raise UsageError(f"{file}: it has configurations, and no name of the task that they were asked.")
    gathering.lack(_PER_ONE)
    for number, row in enumerate(told["configurations"], 1):
        # A file of one model says at its top what a task's file says in each row.
        whole = {**told, **mapped(mapped(row).get("parallelization")), **mapped(row)}
        model = text(whole.get("model_id"))
        gross_j = next((j for key in _PER_RESPONSE if (j := amount(whole.get(key))) is not None), None)
        if model is None or gross_j is None:
            gathering.leave_out(f"{file.name}: row {number} has no {'model' if model is None else 'energy'}")
            continue
        if "energy_per_request_joules" in whole:
            gathering.lack(_STEADY)
        gathering.add(_response(whole, model, task, gross_j, gathering, file.name))


_PER_RESPONSE = ("energy_per_request_joules", "energy_per_image_joules", "energy_per_video_joules")


def _response(
    whole: Mapping[str, Any], model: str, task: str, gross_j: float, gathering: Gathering, file: str
) -> Result:
    power_w, generated = amount(whole.get("avg_power_watts")), amount(whole.get("avg_output_len"))
    meter, machine_id = _placed(whole, gathering)
    return Result(
        model=model,
        task=f"{NAME}/{task}",
        setting=_setting(whole),
        machine_id=machine_id,
        n_items=1,
        energy=energy_of(gross_j, meter=meter, window_s=gross_j / power_w if power_w else None),
        tokens=Tokens(generated=round(generated) if generated else None),
        model_info=_info(whole),
        flags=(MEAN_ANSWER, *(("steady_state",) if "energy_per_request_joules" in whole else ())),
        file=file,
    )


def _read_requests(told: Mapping[str, Any], file: Path, gathering: Gathering) -> None:
    model = text(told.get("model_id"))
    done, asked = count(told.get("completed")), count(told.get("num_prompts"))
    if model is None or not done:
        raise UsageError(f"{file}: it lacks {'the model' if model is None else 'how many requests were answered'}.")
    if asked and asked > done:
        gathering.lack(f"{file.name}: {asked - done} of {asked} requests failed; figures are those of the others.")
    task, _ = _task_and_gpu(file, model, gathering)
    meter, machine_id = _placed(told, gathering)
    generated = count(told.get("total_output_tokens"))
    gross_j, window_s, flags = _request_energy(told, generated, gathering)
    if gross_j is None:
        gathering.lack(f"{file.name}: it has no energy.")
    began = utc(mapped(told.get("timeline")).get("benchmark_start_time"))
    answered = [mapped(row) for row in listed(told.get("results")) if mapped(row).get("success") is not False]
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{task}",
            setting=_setting(told),
            machine_id=machine_id,
            n_items=done,
            energy=energy_of(gross_j, meter=meter, window_s=window_s),
            tokens=Tokens(prompt=count(told.get("total_input_tokens")), generated=generated),
            latency_s=_latency(answered, "latency"),
            ttft_s=_latency(answered, "ttft"),
            flags=flags,
            started_at=began,
            duration_s=amount(told.get("duration")),
            file=file.name,
        )
    )


def _request_energy(
    told: Mapping[str, Any], generated: int | None, gathering: Gathering
) -> tuple[float | None, float | None, tuple[str, ...]]:
    """Joules of all requests, the seconds that they took, and flags."""
    per_token, steady_j = amount(told.get("steady_state_energy_per_token")), amount(told.get("steady_state_energy"))
    if per_token and generated:
        gathering.lack(_STEADY)
        steady_s = amount(told.get("steady_state_duration"))
        gross_j = per_token * generated
        return gross_j, gross_j / steady_j * steady_s if steady_j and steady_s else None, ("steady_state",)
    measured_j, window_s = _window(told.get("entire_benchmark_measurement"))
    return measured_j, window_s, ()


def _read_images(told: Mapping[str, Any], file: Path, gathering: Gathering) -> None:
    model, made = text(told.get("model_id")), count(told.get("total_images"))
    if model is None or not made:
        raise UsageError(f"{file}: it lacks {'the model' if model is None else 'how many pictures were made'}.")
    task, gpu = _task_and_gpu(file, model, gathering)
    whole = {**mapped(told.get("configurations")), **told, "gpu_model": gpu}
    whole["num_gpus"] = len(mapped(mapped(told.get("energy_measurement")).get("gpu_energy")))
    meter, machine_id = _placed(whole, gathering)
    gross_j, window_s = _window(told.get("energy_measurement"))
    if gross_j is None:
        gathering.lack(f"{file.name}: it has no energy.")
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{task}",
            setting=_setting(whole),
            machine_id=machine_id,
            n_items=made,
            energy=energy_of(gross_j, meter=meter, window_s=window_s),
            started_at=utc(mapped(told.get("timeline")).get("benchmark_start_time")),
            duration_s=amount(told.get("total_time")),
            file=file.name,
        )
    )


def _window(measurement: object) -> tuple[float | None, float | None]:
    """Joules and seconds of a window of Zeus; joules only if all of its GPUs have some."""
    told = mapped(measurement)
    by_gpu = [amount(joules) for joules in mapped(told.get("gpu_energy")).values()]
    whole = [joules for joules in by_gpu if joules is not None]
    return sum(whole) if whole and len(whole) == len(by_gpu) else None, amount(told.get("time"))


def _placed(whole: Mapping[str, Any], gathering: Gathering) -> tuple[MeterInfo, str]:
    gpu, gpus = text(whole.get("gpu_model")), count(whole.get("num_gpus"))
    known = gpu is not None and _counts_joules(gpu)
    if not known:
        gathering.lack(
            f"Of the GPU {gpu or UNKNOWN!r} it is not known that Zeus reads a counter of joules: graded polled."
        )
    if not gpus:
        gathering.lack("Of some results the number of GPUs is not told.")
    # Zeus reads the GPU's counter of joules where it has one, and else adds up its power: ZeusMonitor.end_window.
    grade: Grade = "counter" if known else "polled"
    how = "Zeus, NVML's counter of joules" if known else "Zeus"
    meter = meter_of(f"{NAME}:gpu", grade=grade, scope="gpu", provenance=how, grade_told=known)
    station = station_of(gpus=[gpu or UNKNOWN] * min(gpus or 1, 1024), meters=[meter])
    return meter, gathering.place(station)


def _counts_joules(gpu: str) -> bool:
    """Whether a GPU of this name is known to count its joules for NVML: NVIDIA's do from Volta (2017) on.

    Source: NVML's reference, `nvmlDeviceGetTotalEnergyConsumption`.
    """
    return _COUNTING.search(gpu) is not None


_COUNTING = re.compile(
    r"(?<![A-Z0-9])(V100|T4|A(2|10G?|16|30|40|100|800)|L(4|20|40S?)|G?H(20|100|200|800)|G?B(100|200|300)"
    r"|RTX (A\d{4}|[2-5]0[5-9]0|PRO \d{4}))(?![A-Z0-9])",
    re.IGNORECASE,
)


def _setting(whole: Mapping[str, Any]) -> dict[str, Any]:
    names = {"batch_size": "batch_size", "max_num_seqs": "max_num_seqs", "max_output_tokens": "max_gen_toks"}
    degrees = ("tensor_parallel", "expert_parallel", "data_parallel", "ulysses_degree", "ring_degree")
    told = {name: value for key, name in names.items() if (value := count(whole.get(key)))}
    told |= {key: value for key in degrees if (value := count(whole.get(key))) and value > 1}
    words = {"dtype": text(whole.get("weight_precision")), "gen_kwargs": _made(whole)}
    return {**told, **{name: word for name, word in words.items() if word}}


def _made(whole: Mapping[str, Any]) -> str | None:
    """What a picture or a film was asked to be, as ``gen_kwargs``, which tell questions apart; None for text."""
    kinds = {side: [count(whole.get(f"{kind}{side}")) for kind in ("image_", "video_", "")] for side in _SIDES}
    told: dict[str, int | None] = {side: next(filter(None, kinds[side]), None) for side in _SIDES}
    told |= {key: count(whole.get(key)) for key in ("inference_steps", "num_frames", "fps")}
    return ",".join(f"{key}={value}" for key, value in told.items() if value) or None


_SIDES = ("width", "height")


def _info(whole: Mapping[str, Any]) -> ModelInfo:
    total, active = (amount(whole.get(f"{kind}_params_billions")) for kind in ("total", "activated"))
    return ModelInfo(
        kind=(text(whole.get("architecture")) or "").lower().split(" ")[0] or None,
        params=round(total * 1e9) if total else None,
        active_params=round(active * 1e9) if active else None,
    )


def _latency(rows: Sequence[Mapping[str, Any]], key: str) -> Latency:
    seconds = [value for row in rows if (value := amount(row.get(key))) is not None]
    if not seconds or len(seconds) < len(rows):
        return Latency()
    return Latency(p50=float(np.percentile(seconds, 50)), p95=float(np.percentile(seconds, 95)))


def _task_and_gpu(file: Path, model: str, gathering: Gathering) -> tuple[str, str | None]:
    """The task, which the benchmark tells in the names of its folders alone, and the GPU."""
    task, gpu = _folders(file, model)
    if task is None:
        gathering.lack(f"{file.name}: it does not name its task, and lies in none of the benchmark's own folders.")
    return task or UNKNOWN, gpu


def _folders(file: Path, model: str) -> tuple[str | None, str | None]:
    """Task and GPU, as the benchmark's folders have them: ``TASK/results/ORG/MODEL/GPU/SETTING/results.json``."""
    *above, gpu, _ = file.absolute().parts[:-1] if len(file.absolute().parts) > 3 else ("", "", "")
    own = ["results", *model.split("/")]
    if above[-len(own) :] != own or len(above) <= len(own) + 1:
        return None, None
    return text(above[-len(own) - 1]), text(gpu)
