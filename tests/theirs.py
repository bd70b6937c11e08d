"""Files of other tools, some of each format that has energy without quality."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FILES"]

_DATA = Path(__file__).parent / "formats/data"
FILES = {
    "ml-energy": [_DATA / "mlenergy/lm-arena-chat.json", _DATA / "mlenergy/pictures.json"],
    "ai-energy-score": sorted((_DATA / "energyscore").iterdir()),
    "intelligence-per-watt": sorted((_DATA / "ipw").iterdir()),
    "optimum-benchmark": [_DATA / "optimum/benchmark.json", *sorted((_DATA / "optimum-star").iterdir())],
}
