"""What well-known hardware takes at most and at least; of any other nothing is claimed."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Gpu", "known_gpu"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Power of a GPU's board, in watts.

    Attributes:
        most_w: Of its largest version, by its maker's data sheet.
        least_w: With nothing to do; 0 where nobody published it.
    """

    most_w: float
    least_w: float = 0.0


_IDLE_W = 25.0
"""Of GPUs with stacked memory. Below what was published: a context alone adds 26 to 50 W to an A100 or H100 that idles
(arXiv 2605.23918), and an H100 of ours took 128 W with a model loaded."""
_STACKED = {
    "A100": 500.0,  # 400 W; 500 W in some HGX versions.
    "A800": 500.0,
    "H100": 700.0,
    "H800": 700.0,
    "H20": 500.0,
    "H200": 700.0,
    "GH200": 1000.0,
    "B100": 1000.0,
    "B200": 1200.0,  # 1,000 W; 1,200 W with liquid.
    "GB200": 1200.0,
    "B300": 1400.0,
    "GB300": 1400.0,
    "MI250X": 560.0,
    "MI300A": 760.0,
    "MI300X": 750.0,
    "MI325X": 1000.0,
    "MI350X": 1000.0,
    "MI355X": 1400.0,
}
_OTHERS = {"T4": 70.0, "L4": 72.0, "A10": 150.0, "A30": 165.0, "A40": 300.0, "L40": 300.0, "L40S": 350.0}
_GPUS = {name: Gpu(most_w=watts, least_w=_IDLE_W) for name, watts in _STACKED.items()} | {
    name: Gpu(most_w=watts) for name, watts in _OTHERS.items()
}
_NAMED = re.compile(rf"\b(?:NVIDIA|Tesla|AMD)\b.*?\b({'|'.join(sorted(_GPUS, key=len, reverse=True))})\b")


def known_gpu(name: str) -> Gpu | None:
    """What is known of a GPU, by the name that its driver tells; None of one that is not in the table.

    Cards for desktops are not: their owners may raise the limit.
    """
    found = _NAMED.search(name)
    return _GPUS[found[1]] if found else None
