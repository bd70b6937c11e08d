"""Look for submissions that break a board, guided by coverage (``pip install atheris``; Linux, Python 3.11 to 3.13).

    python tools/fuzz_submissions.py SUBMISSION.json -max_total_time=180 -print_final_stats=1

A change is made to a valid submission, which is sealed again as a forger would do. It has broken something if checking
it raises anything, if no site can be made of what passed the checks (one in six is tried), or if what was planted comes
out of it as it went in. What libFuzzer finds it writes to ``crash-*`` in the current folder;
``python tools/fuzz_submissions.py SUBMISSION.json crash-X`` tries that once more.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import re
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

__all__ = ["MARK", "change", "judge", "look_at_site", "planted", "sealed"]

MARK = "\"'><img src=x onerror=zq>"
"""What no page may hold unescaped."""
_NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1, -0.0, 0.5, 1e-300, 1e300, 2**62, -(2**62), "", " ", "..", ".", "con", "NUL", "a/../../b",
    "=1+1", "@x", "\u202ea", "a\u200b", "\ud800", "\n", "<b>", MARK, "]](x", "x](http://example.invalid)", "é" * 150,
    "2025-06-02T10:00:00Z", "9999-12-31T23:59:59-23:59", "counter", "wall", "AAAA", "A" * 60, "jm_units", [], {}, [[]],
    {"a": 1},
)  # fmt: skip
_FORMULA = re.compile(r"\s*[=+@]|\s*-(?![0-9.])")
Content = dict[str, Any]


def main() -> None:
    """Fuzz with the submission that the first argument names."""
    import atheris

    with atheris.instrument_imports(include=["joulemark.leaderboard"]):
        import joulemark.leaderboard.commands
        import joulemark.leaderboard.site  # noqa: F401

    base = Path(sys.argv.pop(1)).read_bytes()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        try:
            content = json.loads(data)
        except ValueError:
            content = None
        if not isinstance(content, dict) or rng.random() < 0.2:
            content = json.loads(base)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            change(content, rng)
        made = sealed(content)
        return made if len(made) <= most else base

    atheris.Setup(
        [*sys.argv, "-max_len=1000000", "-len_control=0"],
        lambda data: judge(data or base, folder / "sent.json", site=zlib.crc32(data) % 6 == 0),
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def judge(content: bytes, file: Path, *, site: bool = True) -> bool:
    """Whether a file's content is valid; then a ``site`` is made of it.

    Raises:
        Exception: It breaks something: that is what is looked for.
    """
    from joulemark.leaderboard.commands import check
    from joulemark.leaderboard.review import Checked, as_markdown, facts_of

    file.write_bytes(content)
    sent, findings = check(file)
    facts = {} if sent is None else facts_of(sent)
    told = as_markdown([Checked(file="sent.json", facts=facts, findings=tuple(findings))])
    assert "<img" not in told, "the comment holds markup"
    assert not any(set(str(each)) & {"\n", "\r", "\x1b"} for each in findings), "a finding has more than a line"
    if sent is None or findings:
        assert findings, "neither valid nor told why not"
        return False
    if site:
        look_at_site(sent)
    return True


def look_at_site(*sent: Any) -> None:
    """Make a site of valid submissions, and look for what was planted in them."""
    from joulemark.leaderboard.board import make_board
    from joulemark.leaderboard.site import render_site

    for path, content in render_site(make_board(sent), "https://board.example").items():
        assert not path.startswith("/"), path
        assert ".." not in path.split("/"), path
        text = content.decode("utf-8", errors="ignore")
        if path.endswith((".html", ".svg", ".xml")):
            assert "<img src=x" not in text, f"{path} holds what was planted"
        if path.endswith(".xml"):
            ElementTree.fromstring(text)
        if path.endswith(".js"):
            assert "</script" not in text, path
        if path.endswith(".csv"):
            wrong = [cell for row in csv.reader(io.StringIO(text)) for cell in row if _FORMULA.match(cell)]
            assert not wrong, f"{path} holds a formula: {wrong[0]!r}"


def sealed(content: Content) -> bytes:
    """The file of a content with its digest, as far as it can have one."""
    from joulemark.leaderboard.submission import digest

    try:
        return json.dumps(content | {"sha256": digest(content)}).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps(content).encode()


def change(content: Content, rng: random.Random) -> None:
    """Change one thing somewhere: leave it out, put another in its place, double it, scale it, plant something."""
    part: Any = content
    while True:
        steps = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not steps:
            return
        step = rng.choice(steps)
        if not isinstance(part[step], dict | list) or not part[step] or rng.random() < 0.1:
            break
        part = part[step]
    old, way = part[step], rng.random()
    if way < 0.1:
        del part[step]
    elif way < 0.2 and isinstance(part, list):
        part.insert(step, copy.deepcopy(old))
    elif way < 0.3 and isinstance(part, dict):
        part[str(rng.choice(_NASTY))] = part.pop(step)
    elif way < 0.6 and isinstance(old, int | float) and not isinstance(old, bool):
        part[step] = type(old)(old * rng.choice((-1, 0, 0.1, 0.5, 2, 10, 1e6))) + rng.choice((0, 0, 1, -1))
    elif way < 0.6 and isinstance(old, str):
        at = rng.randrange(len(old) + 1)
        part[step] = old[:at] + rng.choice([text for text in _NASTY if isinstance(text, str)]) + old[at:]
    else:
        part[step] = copy.deepcopy(rng.choice(_NASTY))


def planted(content: Content, texts: Iterable[str] = (MARK, "=1+1", "[a](http://example.invalid)")) -> list[Content]:
    """The content with each text in each place where a text is, one place and text at a time."""
    made = []
    for path in _places(content):
        for text in texts:
            copy: Any = json.loads(json.dumps(content))
            part = copy
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = text
            made.append(copy)
    return made


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    """Where texts are; of a list's entries the first stands for all."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield from _places(own, (*path, key))
    elif isinstance(value, list) and value:
        yield from _places(value[0], (*path, 0))


if __name__ == "__main__":
    main()
