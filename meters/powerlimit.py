"""Power caps of NVIDIA GPUs: set for a while, and put back whatever happens to the process that set them.

A process of its own sets them. It puts the old ones back as soon as the other end hangs up, which a `kill -9` does too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from .child import Child, ChildFailed, answer_questions
from .errors import MeasuringFailed, UsageError
from .nvidia import Gpu, Nvidia
from .types import Unavailable

__all__ = ["PowerLimits"]

_ANSWERS_S = 60.0
"""A driver may be slow; it is not given up while caps are set, since whoever sets them is to put them back."""


class PowerLimits:
    """The caps of the GPUs that CUDA would show; from the first `set` on they are ours, until `close`."""

    def __init__(self) -> None:
        """Raises UsageError where there is no GPU whose cap can be told."""
        self._child = Child("joulemark.meters.powerlimit")
        try:
            self._ranges: list[list[float]] = self._ask({"do": "ranges"})["ranges"]
        except BaseException:
            self._child.close()
            raise

    def refuse_impossible(self, watts: float) -> None:
        """Raises UsageError where a GPU cannot be held to so many watts."""
        for name, low, high in self._ranges:
            if not low <= watts <= high:
                raise UsageError(f"power_cap_w={watts:g}: {name} takes caps from {low:g} to {high:g} W.")

    def set(self, watts: float) -> None:
        """Hold every GPU to so many watts.

        Raises:
            UsageError: The driver allows that to root alone.
            MeasuringFailed: It does not do so, or the process that sets caps is gone.
        """
        self._ask({"do": "set", "watts": watts})

    def close(self) -> None:
        """Put the old caps back."""
        self._child.close(_ANSWERS_S)

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._child.ask(question, _ANSWERS_S)
        except ChildFailed as gone:
            raise MeasuringFailed(f"power caps: {gone}; see what nvidia-smi -q -d POWER says") from gone
        if "error" in answer:
            kind = UsageError if answer.get("usage") else MeasuringFailed
            raise kind(f"power caps: {answer['error']}")
        return answer


def main() -> None:
    """Answer questions about caps until the other end hangs up, then put the old ones back."""
    found = Nvidia.start()
    if isinstance(found, Unavailable):
        reason = found.reason
        answer_questions(lambda _: {"error": f"{reason}.", "usage": True})
        return
    caps = _Caps(found.gpus)
    # The other end ends this process by force once nobody holds its stdout: not before the caps are put back.
    os.dup(1)
    try:
        answer_questions(caps.answer)
    finally:
        caps.restore()
        found.close()


class _Caps:
    """The child's side: asks the driver."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = gpus
        self._before_mw: dict[str, int] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        nvml = self._gpus[0].nvml
        try:
            if question["do"] == "ranges":
                return {"ranges": [self._range(gpu) for gpu in self._gpus]}
            for gpu in self._gpus:
                self._set(gpu, round(question["watts"] * 1000))
        except nvml.NVMLError_NoPermission:
            return {"error": "the driver lets root alone set them; run as root, or leave them out.", "usage": True}
        except nvml.NVMLError_NotSupported:
            return {"error": "a GPU here has no cap that can be set; leave them out.", "usage": True}
        return {}

    def restore(self) -> None:
        """Put back what was there before the first change, as far as the driver answers."""
        for gpu in self._gpus:
            if gpu.uuid in self._before_mw:
                # One that has fallen off the bus is no reason to leave the others as they are.
                with contextlib.suppress(gpu.nvml.NVMLError):
                    gpu.nvml.nvmlDeviceSetPowerManagementLimit(gpu.handle, self._before_mw[gpu.uuid])

    def _range(self, gpu: Gpu) -> list[Any]:
        low, high = gpu.nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu.handle)
        return [gpu.where, low / 1e3, high / 1e3]

    def _set(self, gpu: Gpu, limit_mw: int) -> None:
        before_mw = gpu.nvml.nvmlDeviceGetPowerManagementLimit(gpu.handle)
        gpu.nvml.nvmlDeviceSetPowerManagementLimit(gpu.handle, limit_mw)
        self._before_mw.setdefault(gpu.uuid, before_mw)


if __name__ == "__main__":
    main()
