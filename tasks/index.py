"""Which tasks and groups there are: lm-eval's own, ours, and those in folders that the user names."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.config.group import GroupConfig
from lm_eval.tasks import TaskManager

from joulemark.meters.errors import UsageError

__all__ = ["asked_without_examples", "expand_tasks", "find_tasks", "not_generating", "refuse_examples"]

SPECS = Path(__file__).parent / "specs"

_GROUPS_OWN = {field.name for field in fields(GroupConfig)} | {"tag"}
"""What a group says of itself; anything else it says for its tasks."""

_INLINE = {"dataset_path", "custom_dataset", "class"}
"""What only a task that is described on the spot has."""


class _MissingName(Exception):
    """A name that lm-eval does not know."""


def expand_tasks(
    names: Sequence[str], include: Sequence[str], say: Callable[[str], None]
) -> tuple[list[str], frozenset[str]]:
    """Names of all that is a cell of its own, in order; and those of them that need lm-eval's own index.

    A group whose score is the mean over all items of its tasks stays one; other groups, and tags, become their tasks.

    Raises:
        UsageError: A task is unknown, there twice or in two groups, a folder has none, or a group cannot be told apart
            into named tasks.
    """
    manager = quick = find_tasks(tuple(include), False)
    for folder in include:
        _refuse_without_tasks(folder)
    try:
        found = _all_expanded(quick, names, _is_whole)
    except _MissingName:
        say("Looking the tasks up in lm-eval; this takes some seconds ...")
        manager = find_tasks(tuple(include), True)
        try:
            found = _all_expanded(manager, names, _is_there)
        except _MissingName as missing:
            raise UsageError(_unknown(str(missing), tuple(include))) from None
    _refuse_twice({*names, *found, *_members_of(quick, found)}, tuple(include))
    _refuse_counted_twice(manager, found)
    return found, frozenset(name for name in found if not _is_whole(quick, name))


def refuse_examples(names: Iterable[str], include: Sequence[str], *, stock: bool) -> None:
    """Refuse to show examples to tasks that say that they are asked without any, as far as their YAML tells.

    Args:
        names: What is a cell of its own, from `expand_tasks`.
        include: Folders with tasks in YAML.
        stock: Whether lm-eval's own index is needed for some of them.

    Raises:
        UsageError: One of them says so.
    """
    manager = find_tasks(tuple(include), stock)
    for name in names:
        for task in (name, *_members_of(manager, [name])):
            if task in manager.all_subtasks and (manager.task_index[task].cfg or {}).get("num_fewshot") == 0:
                raise UsageError(asked_without_examples(task))
            # What a group says of its tasks stands over what they say themselves.
            if task in manager.all_groups and "num_fewshot" in (manager.task_index[task].cfg or {}):
                break


def not_generating(names: Iterable[str], include: Sequence[str], *, stock: bool) -> list[str]:
    """Those of these tasks whose YAML says that they are no generating ones; arguments as of `refuse_examples`."""
    manager = find_tasks(tuple(include), stock)
    kinds = {name: (manager.task_index[name].cfg or {}).get("output_type", "generate_until") for name in names}
    return [name for name, kind in kinds.items() if kind != "generate_until"]


def asked_without_examples(task: str) -> str:
    """What is said where examples were asked for all the same."""
    return f"task {task!r} is asked without examples; leave --num-fewshot out."


@cache
def find_tasks(include: tuple[str, ...], stock: bool) -> Any:
    """lm-eval's manager of tasks in these folders and ours; with ``stock`` of its own too, which takes seconds."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=[str(SPECS), *include], include_defaults=stock)


def _all_expanded(manager: Any, names: Iterable[str], is_known: Callable[[Any, str], bool]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(_expanded(manager, name, name, is_known))
    return list(found)


def _expanded(manager: Any, name: str, asked: str, is_known: Callable[[Any, str], bool]) -> list[str]:
    if not is_known(manager, name):
        raise _MissingName(name)
    config = manager.task_index[name].cfg or {}
    if name in manager.all_subtasks or _is_mean_over_items(config):
        return [name]
    members = _members(manager, name)
    if not all(isinstance(member, str) for member in members):
        raise UsageError(f"group {asked!r} has no score over all of its items; name the tasks in it one by one.")
    if lost := sorted(set(config) - _GROUPS_OWN) if name in manager.all_groups else []:
        raise UsageError(
            f"group {asked!r} has no score over all of its items, and its tasks would be asked without its own "
            f"{', '.join(lost)} one by one; write these into tasks of your own."
        )
    return [leaf for member in members for leaf in _expanded(manager, member, asked, is_known)]


def _members(manager: Any, name: str) -> list[Any]:
    if name in manager.all_tags:
        return sorted(manager.task_index[name].tags)
    listed = (manager.task_index[name].cfg or {}).get("task") or []
    return [listed] if isinstance(listed, str) else list(listed)


def _members_of(manager: Any, names: Iterable[str]) -> list[str]:
    """All named members of those of these that are groups or tags, and theirs."""
    own = [
        member
        for name in names
        if name in manager.task_index and name not in manager.all_subtasks
        for member in _members(manager, name)
        if isinstance(member, str)
    ]
    return [*own, *_members_of(manager, own)] if own else []


def _is_there(manager: Any, name: str) -> bool:
    return name in manager.task_index


def _is_whole(manager: Any, member: Any) -> bool:
    """Whether a task, or all that a group refers to, is in an index."""
    if isinstance(member, str):
        if member not in manager.task_index:
            return False
        return member in manager.all_subtasks or all(_is_whole(manager, part) for part in _members(manager, member))
    if "group" in member and member["group"] not in manager.task_index:
        return all(_is_whole(manager, part) for part in member.get("task") or [])
    return bool(_INLINE & set(member)) or _is_whole(manager, member.get("group") or member.get("task"))


def _is_mean_over_items(config: Mapping[str, Any]) -> bool:
    """Whether a group's score is the mean over all items of its tasks, as lm-eval weighs by default."""
    listed = config.get("aggregate_metric_list")
    first = listed[0] if isinstance(listed, list) and listed else listed
    return isinstance(first, dict) and bool(first.get("weight_by_size", True))


def _unknown(name: str, include: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, find_tasks(include, True).all_tasks, n=1)
    hint = f"did you mean {close[0]}?" if close else "`joulemark tasks` lists ours."
    hint += "" if include else " Your own are found by --include-path."
    # What has no name of its own is there for others to include.
    return f"unknown task {name!r}; {hint}{_unread(include, but='Unknown config shape')}"


def _unread(include: tuple[str, ...], but: str | None = None) -> str:
    """Files that lm-eval could not read, and why; the first few of them."""
    skipped = [note.removeprefix("Skip ") for note in _notes(include) if note.startswith("Skip ")]
    told = [" ".join(note.split())[:300] for note in skipped if but is None or but not in note]
    return "".join(f" Not readable: {note}" for note in told[:3])


def _refuse_without_tasks(folder: str) -> None:
    if not Path(folder).is_dir():
        raise UsageError(f"--include-path {folder}: no such folder.")
    if set(find_tasks((folder,), False).all_tasks) - set(find_tasks((), False).all_tasks):
        return
    raise UsageError(
        f"--include-path {folder}: no task is there that lm-eval can read (`task: name` in YAML).{_unread((folder,))}"
    )


def _refuse_counted_twice(manager: Any, found: Sequence[str]) -> None:
    """What is a cell by itself and a part of another one, or of two, would count twice over all tasks."""
    part_of: dict[str, str] = {}
    for whole in found:
        for part in dict.fromkeys((whole, *_members_of(manager, [whole]))):
            if other := part_of.get(part):
                wholes = [repr(each) for each in (other, whole) if each != part]
                raise UsageError(
                    f"{part!r} is in {' and in '.join(wholes)}{' as well' if len(wholes) == 1 else ''}, and would "
                    "count twice; leave one of the two out."
                )
            part_of[part] = whole


def _refuse_twice(names: Collection[str], include: tuple[str, ...]) -> None:
    """lm-eval takes the first in one folder, the last of several; which one was meant is not for us to say."""
    for note in _notes(include):
        twice = re.match(r"(?:Duplicate (?:task|group) name|Task) '(.+?)' ", note)
        if twice and twice[1] in names:
            files = " and ".join(re.findall(r"from:? (\S.*?\.ya?ml)", note))
            raise UsageError(f"task {twice[1]!r} is there twice, in {files}; give one of them another name.")


@cache
def _notes(include: tuple[str, ...]) -> tuple[str, ...]:
    """What lm-eval logs, and nobody sees, while it reads folders: files that it skips, names that are there twice."""
    if not include:
        return ()
    logger, said = logging.getLogger("lm_eval.tasks._index"), _Noting()
    before = logger.level, logger.propagate
    logger.addHandler(said)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        TaskManager(include_path=[str(SPECS), *include], include_defaults=False)
    finally:
        logger.removeHandler(said)
        logger.setLevel(before[0])
        logger.propagate = before[1]
    return tuple(said.texts)


class _Noting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
