"""Random changes of submissions break nothing, and nothing that was planted comes out of a site as it went in.

The same as `tools/fuzz_submissions.py` does for minutes, guided by coverage; here some seconds, from a seed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from believable import write_believable_run
from fuzz_submissions import MARK, change, judge, look_at_site, planted, sealed

from joulemark.leaderboard.audit import audit
from joulemark.leaderboard.findings import Refused
from joulemark.leaderboard.submission import pack, parse_submission


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return pack(write_believable_run(tmp_path_factory.mktemp("fuzz") / "run", items=6, repeats=2))


def test_random_changes_are_taken_or_refused_and_never_break_anything(valid: bytes, tmp_path: Path) -> None:
    rng, taken = random.Random(8), 0
    for _ in range(150):
        content = json.loads(valid)
        for _ in range(rng.choice((1, 1, 2, 4))):
            change(content, rng)
        taken += judge(sealed(content), tmp_path / "sent.json", site=False)
    assert 10 < taken < 140


def test_what_is_planted_in_any_place_is_refused_or_comes_out_escaped(valid: bytes) -> None:
    """All that pass, in one submission beside a plain one: a site of each by itself would take minutes."""
    together, taken = json.loads(valid), 0
    for content in planted(json.loads(valid), (MARK, "[a](http://example.invalid)")):
        try:
            sent = parse_submission(sealed(content))
        except Refused:
            continue
        if not audit(sent):
            taken += 1
            _adopt(together, json.loads(valid), content)
    together["run"]["plan"]["system_instruction"] = None
    together["run"]["run_id"] = "20260101T000000-abcdef"
    look_at_site(parse_submission(valid), parse_submission(sealed(together)))
    assert taken == 5, "places where anything passes: look at those that are new"


def _adopt(into: object, before: object, after: object) -> None:
    """Take over what differs."""
    if isinstance(into, dict) and isinstance(before, dict) and isinstance(after, dict):
        steps = [key for key in after if key in into]
    elif isinstance(into, list) and isinstance(before, list) and isinstance(after, list):
        steps = list(range(min(len(into), len(after))))
    else:
        return
    for step in steps:
        if isinstance(after[step], dict | list):
            _adopt(into[step], before[step], after[step])
        elif after[step] != before[step]:
            into[step] = after[step]
