"""The claim's page: its tables are made by a tool, and its words must not outlive what they are about."""

import re

from claims import BEGIN, END, PAGE, entrants, questions
from contests import QUESTIONS

from joulemark.harness.models import reference_models

NAME = re.compile(r"\b(?:dense|moe|exit|int8|cascade)-(?:int8|\d+k)[\w-]*")


def test_every_model_that_the_page_names_is_on_the_shelf() -> None:
    shelf = {*reference_models(), "exit-800k"}
    assert set(NAME.findall(PAGE.read_text(encoding="utf-8"))) <= shelf


def test_the_page_answers_every_question_and_has_a_place_for_each_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(page.count(f"| {question.asks} |") == 1 for question in QUESTIONS)
    assert [page.count(BEGIN.format(name)) for name in ("verdicts", "questions", "figures")] == [1, 1, 1]
    assert page.count(END) == 3


def test_the_tables_of_entrants_and_questions_are_those_of_the_shelf() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert entrants() in page
    assert questions() in page
