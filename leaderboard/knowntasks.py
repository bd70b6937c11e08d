"""Hashes of our tasks: what `joulemark.tasks.lmeval.task_hash` gives for what is shipped. A test keeps them current."""

from __future__ import annotations

__all__ = ["TASK_HASHES"]

TASK_HASHES = {
    "jm_addition": "53d26ea5e65d099e",
    "jm_comparison": "4dd375c850c9355a",
    "jm_sorting": "73cfd13fe4303d96",
    "jm_reversal": "4eaafa1202856015",
    "jm_brackets": "2fdc3274b05ff041",
    "jm_units": "fdb898b1fb3ecd3f",
    "jm_dates": "c3816478a8217045",
    "jm_lookup": "d6e3a7d3ae10bd67",
    "jm_abstention": "a6a4641a5c3261cf",
    "jm_addition_3shot": "6f99062e8ac868f3",
    "jm_comparison_3shot": "1a56ca5df40abf82",
    "jm_sorting_3shot": "5d207f1804b488d1",
    "jm_reversal_3shot": "2a89509be7ee0034",
    "jm_brackets_3shot": "1dd9266d6283b80a",
    "jm_units_3shot": "1c19c127f592cdce",
    "jm_dates_3shot": "c4e2f05e9062182c",
    "jm_lookup_3shot": "e107d087fddbe75e",
    "jm_abstention_3shot": "9fb677507bcb3945",
}
