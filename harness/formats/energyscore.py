"""AI Energy Score: the leaderboard's CSV of one task, and ``master_results.csv`` of its batch runner.

Layouts after the spaces AIEnergyScore/Leaderboard and AIEnergyScore/Label of huggingface.co (``energy/TASK.csv``,
``TASK_energyscore.csv`` at a3a4e38) and github.com/huggingface/AIEnergyScore at a5b9a04 (``results_aggregator.py``).

The leaderboard's column ``total_gpu_energy`` has no unit in its file. It is kilowatt-hours for 1,000 queries: the
documentation (``index.md``) has GPU energy per 1,000 queries, a mean of ten runs over 1,000 of them, and in watt-hours
gpt2's 0.0021 would be 8 mJ a query, which an H100 takes while it idles for a tenth of a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..record import Tokens
from .foreign import (
    J_PER_KWH,
    J_PER_WH,
    UNKNOWN,
    Gathering,
    amount,
    count,
    each,
    energy_of,
    meter_of,
    station_of,
    text,
)
from .foreigncsv import read_table
from .found import About, Found, Result

__all__ = ["ABOUT", "read"]

NAME: Final = "ai-energy-score"
ABOUT: Final = About(
    reads="the leaderboard's TASK.csv and TASK_energyscore.csv, the batch runner's master_results.csv",
    gives="energy of the GPUs; of the batch runner tokens and seconds as well",
    never="quality; its error; how its ten runs scatter; idle power; the number of GPUs; when it was measured",
)
QUERIES: Final = 1000
"""Of the leaderboard's figures."""

_ALWAYS = (
    "AI Energy Score grades no answers: there is no quality, and nothing here is ranked.",
    "Energy is that of the GPUs alone, without the rest of the machine; its error, the idle power and the number of "
    "GPUs are not told.",
    "codecarbon measures with NVML: by a GPU's counter of joules, or by adding up its power where reading that fails. "
    "Which it was is not told: graded polled, the lesser.",
)
_BOARD = (
    "Figures of the leaderboard are means of ten runs over 1,000 queries, and cover preparing the input as well; how "
    "much the runs scatter, and how long they took, is not told.",
    "The leaderboard's files do not tell the unit: kilowatt-hours per 1,000 queries, by its documentation.",
)
_BATCH = "master_results.csv does not tell the GPU."
_BATCHS = frozenset({"model_name", "gpu_energy_wh", "successful_prompts"})
_BOARDS = frozenset({"model", "total_gpu_energy"})
_Row = Mapping[str, str]

_METER = meter_of(f"{NAME}:gpu", grade="polled", scope="gpu", provenance="codecarbon, NVML", grade_told=False)
_H100 = station_of(gpus=["NVIDIA H100 80GB"], meters=[_METER])
"""All figures of the leaderboard are of this GPU: ``index.md``, "Standardized Hardware"."""
_SOME_GPU = station_of(gpus=[UNKNOWN], meters=[_METER])


def read(files: Sequence[Path]) -> Found:
    """Read files of the leaderboard, or of the batch runner.

    Raises:
        UsageError: A file is of another format, or cut short.
    """
    gathering = Gathering(NAME)
    for sentence in _ALWAYS:
        gathering.lack(sentence)
    for file in each(files):
        columns, rows = read_table(file, _wrong)
        if set(columns) >= _BATCHS:
            gathering.lack(_BATCH)
            for number, row in enumerate(rows, 1):
                _add_batch(row, f"{file.name}: row {number}", gathering)
        else:
            for sentence in (*_BOARD, f"{file.name}: its task is taken from its name."):
                gathering.lack(sentence)
            for number, row in enumerate(rows, 1):
                _add_board(row, _task_of(file), f"{file.name}: row {number}", gathering)
    return gathering.found()


def _wrong(columns: Sequence[str]) -> str | None:
    if any(needed <= set(columns) for needed in (_BATCHS, _BOARDS)):
        return None
    return (
        "it has neither the columns of AI Energy Score's leaderboard (model, total_gpu_energy) nor those of its "
        "master_results.csv (model_name, gpu_energy_wh, successful_prompts)"
    )


def _add_board(row: _Row, task: str, where: str, gathering: Gathering) -> None:
    model, kwh = text(row.get("model")), amount(row.get("total_gpu_energy"))
    if model is None:
        gathering.leave_out(f"{where} names no model")
        return
    energy = energy_of(kwh * J_PER_KWH if kwh else None, meter=_METER)
    if energy is None:
        gathering.leave_out(f"{where}, {model}: no energy, or 0, which is a failed tracker's")
        return
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{task}",
            setting={"batch_size": 1},
            machine_id=gathering.place(_H100),
            n_items=QUERIES,
            energy=energy,
        )
    )


def _add_batch(row: _Row, where: str, gathering: Gathering) -> None:
    model, answered = text(row.get("model_name")), count(row.get("successful_prompts"))
    if model is None or not answered:
        gathering.leave_out(f"{where} has no {'model' if model is None else 'answered prompts'}")
        return
    wh = amount(row.get("gpu_energy_wh"))
    seconds = amount(row.get("total_duration_seconds"))
    energy = energy_of(wh * J_PER_WH if wh else None, meter=_METER, window_s=seconds)
    if energy is None:
        gathering.leave_out(f"{where}, {model}: no energy, or 0, which is a failed tracker's")
        return
    if count(row.get("failed_prompts")):
        gathering.lack(f"{where}, {model}: {count(row.get('failed_prompts'))} prompts failed; their energy is within.")
    reasoning = text(row.get("reasoning_state"))
    gathering.add(
        Result(
            model=model,
            task=f"{NAME}/{text(row.get('task')) or UNKNOWN}",
            setting={"reasoning": reasoning} if reasoning else {},
            machine_id=gathering.place(_SOME_GPU),
            n_items=answered,
            energy=energy,
            tokens=Tokens(
                prompt=count(row.get("total_prompt_tokens")) or None,
                generated=count(row.get("total_completion_tokens")) or None,
            ),
            duration_s=seconds,
            flags=("some_failed",) if count(row.get("failed_prompts")) else (),
        )
    )


def _task_of(file: Path) -> str:
    return text(file.stem.removesuffix("_energyscore")) or UNKNOWN
