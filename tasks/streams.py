"""An answer that comes as a stream, put together to what the server would have sent in one piece.

Both kinds are OpenAI's: lines ``data: {...}`` (server-sent events), the last one ``data: [DONE]``; choices with pieces
of ``text``, or of a message in ``delta``. See the API reference, "Completions" and "Chat", streaming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NoAnswer", "NoServer", "StreamBroken", "StreamedAnswer", "choices_of"]


class NoAnswer(ConnectionError):
    """The server has answered with an error; the message has its words."""

    def __init__(self, status: int, text: str) -> None:
        said = " ".join(text.split())[:300]
        super().__init__(f"the server answered HTTP {status}: {said}{_advice(status, said)}")


class NoServer(ConnectionError):
    """Nothing takes requests where the server should be."""

    def __init__(self, url: str) -> None:
        super().__init__(f"nothing answers at {url} (is the server running?)")


def _advice(status: int, said: str) -> str:
    if status == 404:
        return " (base_url= names the whole path, such as http://127.0.0.1:8000/v1/completions)"
    if status == 400 and "context" in said.lower():
        return " (max_length= says how many tokens it takes)"
    return ""


class StreamBroken(ConnectionError):
    """The stream ended before the answer did, or the server reported an error in it."""


@dataclass
class _Choice:
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None


class StreamedAnswer:
    """Takes bytes as they come.

    Attributes:
        begun: Whether the first token was there, be it of an answer or of a thought that leads to it.
    """

    def __init__(self) -> None:
        self.begun = False
        self._rest = b""
        self._done = self._is_chat = False
        self._choices: dict[int, _Choice] = {}
        self._usage: Mapping[str, Any] | None = None

    def feed(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            StreamBroken: It is an error's report.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take_line(line.strip())

    def whole(self) -> dict[str, Any]:
        """The answer in one piece, its choices by index, each with its own ``usage`` where that was told.

        Raises:
            StreamBroken: It has not come to its end.
        """
        self._take_line(self._rest.strip())
        self._rest = b""
        if not self._done and not (self._choices and all(one.finish_reason for one in self._choices.values())):
            raise StreamBroken("the server ended the stream in the middle of an answer")
        choices = [self._choice(index, choice) for index, choice in sorted(self._choices.items())]
        return {"choices": choices, "usage": self._usage}

    def _take_line(self, line: bytes) -> None:
        name, _, content = line.partition(b":")
        if name not in (b"data", b"error"):
            return
        if content.strip() == b"[DONE]":
            self._done = True
            return
        event = json.loads(content)
        if name == b"error" or (isinstance(event, dict) and event.get("error")):
            raise StreamBroken(f"the server reported an error midway: {json.dumps(event)[:300]}")
        # Some servers open with an event that holds nothing.
        if isinstance(event, dict):
            self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        choices = event.get("choices") or []
        if usage := event.get("usage"):
            self._usage = usage
        for told in choices:
            choice = self._choices.setdefault(told.get("index", 0), _Choice())
            choice.finish_reason = told.get("finish_reason") or choice.finish_reason
            # Beside a single choice it is that one's own; on its own it is of all.
            if usage and len(choices) == 1:
                choice.usage = usage
            self._take_piece(choice, told)

    def _take_piece(self, choice: _Choice, told: Mapping[str, Any]) -> None:
        delta = told.get("delta")
        self._is_chat = self._is_chat or delta is not None
        piece = told.get("text") if delta is None else delta.get("content")
        if isinstance(piece, str):
            choice.pieces.append(piece)
        thought = (delta or {}).get("reasoning_content") or (delta or {}).get("reasoning")
        self.begun = self.begun or bool(piece or thought or told.get("finish_reason"))

    def _choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        text = "".join(choice.pieces)
        facts = {"index": index, "finish_reason": choice.finish_reason, "usage": choice.usage}
        if not self._is_chat:
            return facts | {"text": text}
        return facts | {"message": {"role": "assistant", "content": text if choice.pieces else None}}


def choices_of(outputs: Any) -> list[dict[str, Any]]:
    """The choices of an answer in one piece; none where it has another form."""
    found = outputs.get("choices") if isinstance(outputs, dict) else None
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []
