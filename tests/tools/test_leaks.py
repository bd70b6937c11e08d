"""What models are trained on gives away nothing that they are asked, as far as the text itself can tell."""

import random
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pytest
from corpus import Ids, corpus, rows
from hypothesis import given
from hypothesis import strategies as st
from leaks import count_leaks, operands

from joulemark.harness.alphabet import CONTEXT, decode, encode
from joulemark.tasks import reference
from joulemark.tasks.reference import ABSENT, FAMILIES, LEVELS, Family, Question, draw, held_out

any_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def rows_of(*lines: str) -> Ids:
    """Rows of a corpus with one of these questions and its answer each."""
    ids = np.zeros((len(lines), CONTEXT), dtype=np.uint8)
    for row, line in zip(ids, lines, strict=True):
        text = encode(line + "\n")
        row[: len(text)] = text
    return ids


def asked(name: str, level: int, *, absent: bool = False) -> Question:
    """A test question of a family; where ``absent``, one whose key is not in its table."""
    family = next(family for family in FAMILIES if family.name == name)
    return next(q for q in held_out(family) if q.level == level and (q.answer == ABSENT) == absent)


def test_training_rows_hold_no_test_question_and_none_that_gives_one_away() -> None:
    ids, _ = rows(random.Random("leaks"), "train", 5000)
    found = count_leaks(ids)
    assert found["questions"] >= 40_000
    assert found["leaked"] == 0


def test_the_corpus_that_is_trained_on_is_made_of_these_rows(tmp_path: Path) -> None:
    ids, wanted = corpus(tmp_path, seed=7, tokens=50_000)
    again, _ = corpus(tmp_path, seed=7, tokens=50_000)
    assert (ids == again).all()
    drawn, _ = rows(random.Random("train:7"), "train", 1024)
    assert (ids == drawn).all()
    assert not (wanted & (ids == 0)).any()


def test_only_answers_are_learnt_and_all_of_each_with_its_end() -> None:
    ids, wanted = rows(random.Random("answers"), "train", 50)
    for row, mask in zip(ids, wanted, strict=True):
        taught = decode(row[mask].tolist()).splitlines()
        lines = decode(row.tolist()).splitlines()
        assert all(line.endswith(answer) for line, answer in zip(lines, taught, strict=True))


def test_rows_of_another_split_are_found_to_be_leaks() -> None:
    ids, _ = rows(random.Random("leaks"), "test", 60)
    assert count_leaks(ids)["leaked"] > 0


@any_family
def test_every_test_question_is_found_where_it_is_planted(family: Family) -> None:
    planted = [question.prompt + question.answer for question in held_out(family)]
    harmless = draw(family, random.Random(0), 1, "train")
    found = count_leaks(rows_of(*planted, harmless.prompt + harmless.answer))
    assert (found["questions"], found["leaked"]) == (301, 300)


def swapped_sum() -> str:
    left, right = asked("addition", 2).prompt.removesuffix("=").split("+")
    return f"{right}+{left}={int(left) + int(right)}"


def other_direction() -> str:
    """``ft in 60 in=5`` for ``in in 5 ft=60``."""
    question = asked("units", 1)
    to, _, count, of = question.prompt.removesuffix("=").split()
    return f"{of} in {question.answer} {to}={count}"


def days_back() -> str:
    """``04-08-12=03-27`` for ``03-27+12=04-08``."""
    question = asked("dates", 2)
    this, sign, days = question.prompt[:5], question.prompt[5], question.prompt[6:-1]
    return f"{question.answer}{'-' if sign == '+' else '+'}{days}={this}"


def the_long_way_round_the_year() -> str:
    """``03-27-353=04-08`` for ``03-27+12=04-08``: the calendar has 365 days."""
    question = asked("dates", 2)
    this, sign, days = question.prompt[:5], question.prompt[5], int(question.prompt[6:-1])
    return f"{this}{'-' if sign == '+' else '+'}{365 - days}={question.answer}"


def written_backwards() -> str:
    question = asked("reversal", 2)
    return f"rev {question.answer}={question.answer[::-1]}"


def other_order_of_letters() -> str:
    question = asked("sorting", 2)
    return f"sort {question.answer}={question.answer}"


def other_order_of_numbers() -> str:
    question = asked("comparison", 3)
    numbers = question.prompt.removeprefix("max ").removesuffix("=").split(",")
    return f"max {','.join(numbers[::-1])}={question.answer}"


def other_order_of_the_table() -> str:
    question = asked("lookup", 3)
    *entries, key = question.prompt.split()
    return f"{' '.join(entries[::-1])} {key}{question.answer}"


def other_key_of_the_table() -> str:
    *entries, key = asked("lookup", 3).prompt.split()
    other = next(entry for entry in entries if entry[0] != key[1])
    return f"{' '.join(entries)} ?{other[0]}{other[1:]}"


def absent_key_of_the_table() -> str:
    *entries, _ = asked("lookup", 3).prompt.split()
    absent = next(key for key in "abcdefghij" if key not in {entry[0] for entry in entries})
    return f"{' '.join(entries)} ?{absent}{ABSENT}"


def present_key_of_a_table_asked_for_an_absent_one() -> str:
    *entries, _ = asked("abstention", 3, absent=True).prompt.split()
    return f"{' '.join(entries)} ?{entries[0][0]}{entries[0][1:]}"


@pytest.mark.parametrize(
    "mirror_image",
    [
        swapped_sum,
        other_direction,
        days_back,
        the_long_way_round_the_year,
        written_backwards,
        other_order_of_letters,
        other_order_of_numbers,
        other_order_of_the_table,
        other_key_of_the_table,
        absent_key_of_the_table,
        present_key_of_a_table_asked_for_an_absent_one,
    ],
)
def test_a_mirror_image_of_a_test_question_is_found_where_it_is_planted(
    mirror_image: Callable[[], str],
) -> None:
    line = mirror_image()
    tests = {question.prompt + question.answer for family in FAMILIES for question in held_out(family)}
    assert line not in tests, "this would be the question itself"
    assert count_leaks(rows_of(line)) == {"questions": 1, "leaked": 1}


@any_family
@given(seed=st.integers(0, 2**32), level=st.sampled_from(LEVELS))
def test_every_question_is_understood_as_one_of_its_familys_operands(family: Family, seed: int, level: int) -> None:
    question = family.draw(random.Random(seed), level)
    kind, *_ = operands(question.prompt + question.answer)
    assert kind == family.operands


@any_family
def test_questions_about_the_same_operands_have_the_same_canonical_form(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the split could part what belongs together."""
    # Two letters, so that words and their mirror images come up again and again.
    monkeypatch.setattr(reference, "_letters", lambda rng, length: "".join(rng.choice("ab") for _ in range(length)))
    rng = random.Random(0)
    forms: dict[Hashable, list[str]] = {}
    for _ in range(20_000):
        question = family.draw(rng, rng.choice(LEVELS))
        forms.setdefault(operands(question.prompt + question.answer), []).append(question.canonical)
    assert all(len(set(alike)) == 1 for alike in forms.values())
    assert max(map(len, forms.values())) > 1, "none came up twice: nothing was tested"


def test_a_line_that_is_no_question_of_ours_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="no question of ours: '12%34=5'"):
        operands("12%34=5")
