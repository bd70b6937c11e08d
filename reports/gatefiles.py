"""A gate for other programs: JSON, JUnit XML, Markdown, a badge, and GitHub's annotations.

In JUnit an inconclusive rule is skipped, not in error: readers of such files count errors with failures and colour
them red, which an unproven rule is not; skipped ones stand apart, with their reason. Where ``--on-inconclusive fail``
makes it fail the job, it is a failure there too. A gate that judged nothing has a case of its own in error, so that
it is never an empty file, which looks like a pass. GitLab reads the text of an element, others its message: both are
told. It takes the second of two cases of one name for the first, so that names tell task, rule and model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from .gatefigures import ARROW, counted, rule_name, rule_sentence, rule_text, so_many
from .gaterules import Outcome
from .gatewords import Account
from .markdown import md, md_row
from .wording import safe

__all__ = ["as_annotations", "as_badge", "as_json", "as_junit", "as_markdown", "finite", "to_json"]

SCHEMA = "joulemark.gate/1"
_COLORS = {"pass": "brightgreen", "fail": "red", "inconclusive": "yellow", "incomparable": "lightgrey"}
_LEVELS = {"pass": "notice", "fail": "error", "inconclusive": "warning", "incomparable": "error"}
_MOST_ANNOTATIONS = 10
"""So many of a kind GitHub shows of a step."""
_MOST_BYTES, _FOR_LISTS, _FOR_COMMANDS = 60_000, 8_000, 8_000
"""Of all Markdown, below the 64 KB of a comment; of each list in it; of its commands."""
_LONGEST = 200
"""Letters of a name or a sentence from a file, where room is short."""


def as_json(account: Account) -> str:
    """One JSON object (`SCHEMA`); what is missing or has no finite value is null."""
    gate = account.gate
    told = {
        "schema": SCHEMA,
        "verdict": gate.verdict,
        "finding": f"{account.headline} {account.meaning}",
        "baseline": account.baseline,
        "candidate": account.candidate,
        "alpha": gate.alpha,
        "repeats": gate.repeats,
        "rules": [{key: finite(value) for key, value in vars(rule).items()} for rule in gate.rules],
        "reasons": list(account.reasons),
        "warnings": list(account.warnings),
        "notes": list(account.notes),
        "reproduce": list(account.again),
    }
    return to_json(told)


def to_json(told: Mapping[str, Any]) -> str:
    """An object for a job's log: what GitHub would take for a command is written otherwise, and read back as it is."""
    return json.dumps(told, indent=2, allow_nan=False).replace("##[", "##\\u005b")


def finite(value: object) -> object:
    """A value for JSON: None in place of a number that it cannot write."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_junit(account: Account, *, inconclusive_fails: bool = False) -> bytes:
    """JUnit XML with a case for each rule, after the schema that most readers go by (junit-10.xsd).

    It has no times: a rule takes none.
    """
    cases = [_case(account, rule, inconclusive_fails=inconclusive_fails) for rule in account.rules]
    if account.gate.verdict == "incomparable" or not cases:
        cases.insert(0, _case_of_none(account))
    counts = {"tests": len(cases)}
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[name] = sum(case.find(element) is not None for case in cases)
    told = {name: str(many) for name, many in counts.items()}
    root = ET.Element("testsuites", {name: value for name, value in told.items() if name != "skipped"})
    suite = ET.SubElement(root, "testsuite", {"name": "joulemark gate", **told})
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = "\n".join(_lines(account))
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def as_markdown(account: Account) -> str:
    """For a job's summary or a comment: verdict, rules, why, how to reproduce; under 64 KB however many rules."""
    head = [f"## {md(_short(account.headline, 3 * _LONGEST))}", md(account.meaning)]
    head += [f"**{md(text)}**" for text in _few(account.warnings)]
    tail = _listed(account.why, account.reasons) + _listed("To know", account.notes)
    commands = [f"    {safe(command)}" for command in account.again]
    if sum(map(_size, commands)) <= _FOR_COMMANDS:
        tail += ["### To reproduce", "\n".join(commands)]
    room = _MOST_BYTES - sum(_size(part) for part in (*head, *tail))
    return "\n\n".join([*head, *_md_rules(account, room), *tail]) + "\n"


def as_badge(account: Account) -> str:
    """What Shields' endpoint badge reads."""
    gate = account.gate
    broken = sum(rule.verdict == "fail" for rule in gate.rules)
    message = f"fail: {broken:,} of {so_many(len(gate.rules))}" if gate.verdict == "fail" else gate.verdict
    told = {"schemaVersion": 1, "label": "joulemark gate", "message": message, "color": _COLORS[gate.verdict]}
    return json.dumps(told) + "\n"


def as_annotations(account: Account) -> list[str]:
    """Workflow commands that GitHub shows beside a job: the verdict, then broken rules while it shows more."""
    gate = account.gate
    # A broken rule has an annotation of its own.
    why = [] if gate.verdict == "fail" else _few(account.reasons)[:5]
    told = [account.headline, account.meaning, *why]
    lines = [_annotation(_LEVELS[gate.verdict], f"Joulemark gate: {gate.verdict}", " ".join(told))]
    broken = [rule for rule in account.rules if rule.verdict == "fail"][: _MOST_ANNOTATIONS - 1]
    return lines + [_annotation("error", _title(account, rule), rule_sentence(rule, account.level)) for rule in broken]


def _title(account: Account, rule: Outcome) -> str:
    model = f"{safe(rule.model)}, " if account.several else ""
    return f"{model}{safe(rule.task)}: {rule_name(rule)}"


def _case(account: Account, rule: Outcome, *, inconclusive_fails: bool) -> ET.Element:
    case = ET.Element("testcase", classname=f"joulemark gate: {safe(rule.model)}", name=_title(account, rule))
    told = rule_sentence(rule, account.level)
    if rule.verdict == "pass":
        ET.SubElement(case, "system-out").text = told
        return case
    fails = rule.verdict == "fail" or (rule.verdict == "inconclusive" and inconclusive_fails)
    kind = "failure" if fails else "error" if rule.verdict == "incomparable" else "skipped"
    ET.SubElement(case, kind, type=rule.verdict, message=told).text = told
    return case


def _case_of_none(account: Account) -> ET.Element:
    """Of a gate, or a part of it, in which nothing was judged."""
    case = ET.Element("testcase", classname="joulemark gate", name="both can be compared")
    told = "\n".join(map(safe, [account.headline, *account.reasons]))
    ET.SubElement(case, "error", type=account.gate.verdict, message=safe(account.headline)).text = told
    return case


def _lines(account: Account) -> list[str]:
    told = (account.headline, account.meaning, *account.warnings, *account.notes, *account.again)
    return [safe(line) for line in told]


def _md_rules(account: Account, room: int) -> list[str]:
    """A table of the rules as far as they fit into so many bytes; those that are kept folded away below others."""
    kept = [rule for rule in account.rules if rule.verdict == "pass"]
    others = [rule for rule in account.rules if rule.verdict != "pass"]
    parts: list[str] = []
    for rules, fold in ((others, False), (kept, bool(others))):
        table, left = _md_table(account, rules, room)
        has = "has" if len(left) == 1 else "have"
        more = [
            f"{so_many(len(left), 'more')} ({_verdicts(left)}) {has} no room here; `joulemark gate --json` has all."
        ]
        told = [*([table] if table else []), *(more if left else [])]
        if fold and told:
            passed = f"{so_many(len(kept))} {'passes' if len(kept) == 1 else 'pass'}: {md(counted(kept))}"
            told = [f"<details><summary>{passed}</summary>", *told, "</details>"]
        parts += told
        room -= sum(map(_size, told))
    return parts


def _md_table(account: Account, rules: Sequence[Outcome], room: int) -> tuple[str, Sequence[Outcome]]:
    """A table of the first of these rules that fit, and the others."""
    several = account.several
    heads = ["Verdict", *["Model"] * several, "Task", "Rule", f"Baseline {ARROW} candidate"]
    heads += [f"Change ({account.level})", "Margin", "Would have seen"]
    lines = [md_row(heads), "|---" * (len(heads) - 4) + "|--:|--:|--:|--:|"]
    used = sum(map(_size, lines)) + 300
    for place, rule in enumerate(rules):
        line = _md_line(rule, several=several)
        used += _size(line)
        if used > room:
            return ("\n".join(lines) if place else ""), rules[place:]
        lines.append(line)
    return ("\n".join(lines) if rules else ""), ()


def _md_line(rule: Outcome, *, several: bool) -> str:
    told = rule_text(rule)
    name = [md(_short(rule.model))] * several
    verdict = f"**{rule.verdict}**" if rule.verdict == "fail" else rule.verdict
    cells = [verdict, *name, md(_short(rule.task)), rule_name(rule)]
    cells += [" ".join(filter(None, (told.sides(), told.unit, told.per))), told.changed(), told.margin, told.seen]
    return md_row(cells)


def _listed(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"### {title}", "\n".join(f"- {md(text)}" for text in _few(sentences))] if sentences else []


def _few(sentences: Sequence[str]) -> list[str]:
    """The first that have room, each shortened, and how many there are besides."""
    found: list[str] = []
    used = 0
    for place, text in enumerate(sentences):
        shown = _short(text, 3 * _LONGEST)
        used += _size(md(shown))
        if used > _FOR_LISTS:
            return [*found, f"{len(sentences) - place:,} more; `joulemark gate --json` has all."]
        found.append(shown)
    return found


def _verdicts(rules: Sequence[Outcome]) -> str:
    order = ("fail", "incomparable", "inconclusive", "pass")
    told = ((name, sum(rule.verdict == name for rule in rules)) for name in order)
    return ", ".join(f"{many:,} {name}" for name, many in told if many)


def _short(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def _size(text: str) -> int:
    """Bytes of a line or paragraph, with what parts it from the next."""
    return len(text.encode("utf-8", "replace")) + 2


def _annotation(level: str, title: str, text: str) -> str:
    """A workflow command; a percent sign and, in a title, colons and commas would be read as marks."""
    title, text = (safe(part).replace("%", "%25") for part in (title, text))
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"
