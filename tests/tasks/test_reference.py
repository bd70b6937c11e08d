import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.tasks import reference
from joulemark.tasks.catalog import OUR_TASKS
from joulemark.tasks.reference import (
    ABSENT,
    EXAMPLES_PER_LEVEL,
    FAMILIES,
    LEVELS,
    Family,
    held_out,
    questions_digest,
    split_of,
    write_data,
)

DATA = Path(reference.__file__).parent / "data"
UNITS = {(large, small): factor for large, small, factor in reference._UNITS}
any_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def answer_again(name: str, prompt: str) -> str:
    """The answer to a prompt, worked out from its text alone and by other means than the generator's."""
    if name == "addition":
        return str(eval(prompt.removesuffix("=")))
    if name == "comparison":
        return max(re.findall(r"\d+", prompt), key=int)
    if name == "sorting":
        return "".join(sorted(prompt.removeprefix("sort ").removesuffix("=")))
    if name == "reversal":
        return "".join(reversed(prompt.removeprefix("rev ").removesuffix("=")))
    if name == "brackets":
        text = prompt.removeprefix("close ").removesuffix("=")
        while (shorter := text.replace("()", "").replace("[]", "").replace("{}", "")) != text:
            text = shorter
        return text[::-1].translate(str.maketrans("([{", ")]}"))
    if name == "units":
        wanted, amount = re.fullmatch(r"(\w+) in (.*)=", prompt).groups()
        parts = [(int(count), unit) for count, unit in re.findall(r"(\d+) (\w+)", amount)]
        if len(parts) == 2:
            return str(parts[0][0] * UNITS[parts[0][1], wanted] + parts[1][0])
        [(count, unit)] = parts
        return str(count * UNITS[unit, wanted] if (unit, wanted) in UNITS else count // UNITS[wanted, unit])
    if name == "dates":
        month, day, sign, days = re.fullmatch(r"(\d\d)-(\d\d)([+-])(\d+)=", prompt).groups()
        # 2021 to 2023 have no 29 February; neither is one crossed from the middle of them.
        there = date(2022, int(month), int(day)) + timedelta(days=int(sign + days))
        return f"{there:%m-%d}"
    assert name in ("lookup", "abstention")
    table, asked = prompt.split(" ?")
    [*found] = re.findall(rf"\b{asked}(\d+)", table)
    return found[0] if found else "none"


@any_family
@given(seed=st.integers(0, 2**32), level=st.sampled_from(LEVELS))
def test_every_answer_is_the_one_that_the_question_asks_for(family: Family, seed: int, level: int) -> None:
    question = family.draw(random.Random(seed), level)
    assert answer_again(family.name, question.prompt) == question.answer


@any_family
def test_a_family_has_300_different_held_out_questions_with_levels_in_turn(family: Family) -> None:
    questions = list(held_out(family))
    assert len({question.prompt for question in questions}) == 300
    assert [question.level for question in questions[:8]] == [1, 2, 3, 4, 1, 2, 3, 4]


def test_half_of_the_keys_asked_for_in_the_abstention_task_are_absent_at_every_level_and_in_what_is_shown() -> None:
    rows = [json.loads(line) for line in (DATA / "abstention.jsonl").read_text().splitlines()]
    absent = Counter((row["split"], row["level"]) for row in rows if row["answer"] == ABSENT)
    asked = Counter((row["split"], row["level"]) for row in rows)
    assert sum(absent["test", level] for level in LEVELS) == 150
    assert all(2 * absent[key] - asked[key] in (-1, 0, 1) for key in asked)


def test_making_the_questions_again_gives_the_same_bytes_as_are_shipped(tmp_path: Path) -> None:
    for again in write_data(tmp_path):
        assert again.read_bytes() == (DATA / again.name).read_bytes()


@pytest.mark.parametrize(
    ("family", "one", "other"),
    [
        ("addition", "12+34=", "34+12="),
        ("units", "in in 5 ft=", "ft in 60 in="),
        ("dates", "03-27+12=", "04-08-12="),
        ("dates", "03-27+12=", "04-08+353="),
        ("lookup", "a1 b2 ?a", "b2 a1 ?b"),
        ("abstention", "a1 b2 ?a", "b2 a1 ?k"),
        ("reversal", "rev abcdef=", "rev fedcba="),
        ("sorting", "sort dcba=", "sort abcd="),
    ],
)
def test_questions_that_give_each_other_away_share_their_split(family: str, one: str, other: str) -> None:
    made = {prompt: canonical for prompt, canonical in _all_small(family) if prompt in (one, other)}
    assert len(made) == 2
    assert len(set(made.values())) == 1


def _all_small(name: str) -> list[tuple[str, str]]:
    """Prompts with choices that were made before in place of random ones, to reach exactly those of the test above."""
    family = by_name(name)
    scripts: dict[str, list[tuple[int, list[Any]]]] = {
        "addition": [(1, [12, 34]), (1, [34, 12])],
        "units": [(1, [8, 5, 1]), (1, [8, 5, 0])],
        "dates": [(2, [85, 12, 1]), (2, [85, 12, 0]), (4, [97, 353, 1])],
        "lookup": [(1, ["ab", 1, 2, "a"]), (1, ["ba", 2, 1, "b"])],
        "abstention": [(1, ["ab", 1, 2, "a"]), (1, ["ba", 2, 1, "k"])],
        "reversal": [(1, [0, 1, 2, 3, 4, 5]), (1, [5, 4, 3, 2, 1, 0])],
        "sorting": [(1, [3, 2, 1, 0]), (1, [0, 1, 2, 3])],
    }
    return [
        (question.prompt, question.canonical)
        for turn, (level, choices) in enumerate(scripts[name])
        for question in [family.draw(_Scripted(choices), level, turn)]
    ]


def by_name(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


class _Scripted(random.Random):
    """Chooses what it was told to; ``choice`` and ``sample`` from nothing that they are not offered."""

    def __init__(self, choices: list[Any]) -> None:
        super().__init__()
        self.choices = list(choices)

    def randrange(self, *_: object) -> int:  # type: ignore[override]
        return self.choices.pop(0)

    def choice(self, offered: Sequence[str]) -> str:  # type: ignore[override]
        assert self.choices[0] in offered
        return self.choices.pop(0)

    def sample(self, offered: Sequence[str], count: int) -> list[str]:  # type: ignore[override]
        assert len(self.choices[0]) == count
        assert set(self.choices[0]) <= set(offered)
        return list(self.choices.pop(0))


@given(seed=st.integers(0, 2**32), level=st.sampled_from(LEVELS))
def test_a_table_is_in_the_same_split_whichever_task_asks_about_it_and_for_a_key_that_is_there_or_not(
    seed: int, level: int
) -> None:
    lookup, abstention = by_name("lookup"), by_name("abstention")
    questions = [
        lookup.draw(random.Random(seed), level, 0),
        abstention.draw(random.Random(seed), level, 0),
        abstention.draw(random.Random(seed), level, 1),
    ]
    assert len({question.prompt.split("?")[0] for question in questions}) == 1
    assert len({question.canonical for question in questions}) == 1
    assert ABSENT == questions[2].answer != questions[1].answer


def test_a_tenth_of_all_operands_is_kept_for_the_test_and_a_twentieth_for_validation() -> None:
    splits = [split_of(f"addition:{number}") for number in range(20_000)]
    assert 0.09 < splits.count("test") / 20_000 < 0.11
    assert 0.04 < splits.count("validation") / 20_000 < 0.06


@any_family
def test_examples_to_show_come_from_neither_test_nor_training(family: Family) -> None:
    rows = [json.loads(line) for line in (DATA / f"{family.name}.jsonl").read_text().splitlines()]
    asked = {row["prompt"] for row in rows if row["split"] == "test"}
    shown = {row["prompt"] for row in rows if row["split"] == "fewshot"}
    drawn = list(held_out(family, "validation", EXAMPLES_PER_LEVEL))
    assert shown == {question.prompt for question in drawn}
    assert {split_of(question.canonical) for question in drawn} == {"validation"}
    assert len(shown) >= 3
    assert not asked & shown


def test_other_questions_get_another_version() -> None:
    assert (OUR_TASKS[0].version, questions_digest()) == ("2.1", "d65c2755a0ea"), "bump the version and this line"
