"""A library in a process of its own: bounded in time, its prints out of the way, nothing of it left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from joulemark.meters.child import Child, ChildFailed

MODULE = """
import os, subprocess, sys, time
from joulemark.meters.child import answer_questions

def answer(question):
    print("a library prints this")
    os.write(1, b"and C writes this\\n")
    if "sleep" in question:
        time.sleep(question["sleep"])
    if "helper" in question:
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
        return {"helper": helper.pid}
    if "crash" in question:
        sys.stderr.write("terminate called: the library said goodbye\\n")
        sys.stderr.flush()
        os._exit(3)
    return {"sum": sum(question["add"]), "home": os.environ.get("HOME"), "folder": os.getcwd()}

if __name__ == "__main__":
    answer_questions(answer)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    (tmp_path / "made_for_this_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    child = Child("made_for_this_test", env=os.environ | {"HOME": "/nowhere"}, folder=tmp_path)
    yield child
    child.close()


def test_questions_are_answered_whatever_the_library_prints(child: Child, tmp_path: Path) -> None:
    for _ in range(3):
        assert child.ask({"add": [1, 2]}, 10) == {"sum": 3, "home": "/nowhere", "folder": str(tmp_path)}


def test_a_failure_in_the_library_is_an_answer_and_not_the_end(child: Child) -> None:
    assert "error" in child.ask({"add": ["text"]}, 10)
    assert child.ask({"add": [2]}, 10)["sum"] == 2


def test_a_library_that_hangs_is_waited_for_no_longer_than_said(child: Child) -> None:
    child.ask({"add": []}, 10)
    began = time.monotonic()
    with pytest.raises(ChildFailed, match=r"no answer within 0\.2 s"):
        child.ask({"add": [], "sleep": 60}, 0.2)
    assert time.monotonic() - began < 5
    with pytest.raises(ChildFailed, match="ended"):
        child.ask({"add": []}, 10)


def test_a_library_that_crashes_is_told_with_its_last_words(child: Child) -> None:
    with pytest.raises(ChildFailed, match="ended: terminate called: the library said goodbye"):
        child.ask({"crash": True}, 10)


def test_a_module_that_prints_before_it_answers_is_told_by_what_it_said(tmp_path: Path, child: Child) -> None:
    assert child.ask({"add": [1]}, 10)["sum"] == 1
    (tmp_path / "chatty.py").write_text(f"print('hello from start-up', flush=True)\n{MODULE}")
    with pytest.raises(ChildFailed, match="'hello from start-up' instead of an answer"):
        Child("chatty", folder=tmp_path).ask({"add": [1]}, 10)


def test_what_it_started_ends_with_it(child: Child) -> None:
    helper = psutil.Process(child.ask({"helper": True}, 10)["helper"])
    child.close()
    helper_gone = psutil.wait_procs([helper], timeout=5)[1] == []
    assert helper_gone or helper.status() == psutil.STATUS_ZOMBIE
