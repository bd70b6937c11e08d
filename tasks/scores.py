"""Whether a server tells the log-probabilities of a prompt's tokens, which scoring a continuation needs.

Many leave out what they do not know (``echo``, ``logprobs``) and answer all the same. The sum of no log-probabilities
is 0 for every choice, which looks like a model that guesses.
"""

from __future__ import annotations

import math
from typing import Any

from joulemark.meters.errors import UsageError

from .streams import choices_of

__all__ = ["check_scores"]

_PROBE = "The sum of 2 and 2 is 4, and the sum of 3 and 3 is 6."


def check_scores(lm: Any) -> None:
    """Ask for the log-probabilities of a short prompt, as lm-eval would, and see whether they are there.

    Raises:
        UsageError: The server does not give them, or not those of the prompt's tokens, one for one.
    """
    why = _lacks_scores(lm)
    if why:
        raise UsageError(
            f"this task scores continuations, for which {lm.base_url} would have to tell the log-probabilities of its "
            f"prompt's tokens: {why}. Choose a generate_until task, or a server that has them."
        )


def _lacks_scores(lm: Any) -> str | None:
    """What is wrong with the log-probabilities that the server gives; None if nothing is."""
    if any(base.__name__ == "LocalChatCompletion" for base in type(lm).__mro__):
        return "a chat has none"
    if lm.tokenizer is None:
        return "lm-eval cuts them by the model's tokens, so give it the tokenizer too, such as tokenizer=FOLDER"
    import requests

    tokens = lm.tok_encode(_PROBE)
    payload = lm._create_payload(lm.create_message([tokens]), generate=False, seed=lm._seed, eos=lm.eos_string)
    response = requests.post(
        lm.base_url, json=payload, headers=lm.header, verify=lm.verify_certificate, timeout=lm.timeout
    )
    if not response.ok:
        hint = "; where it takes text alone, add tokenized_requests=False" if lm.tokenized_requests else ""
        return f"it refuses (HTTP {response.status_code}: {' '.join(response.text.split())[:200]}{hint})"
    return _wrong_with(response.json(), len(tokens))


def _wrong_with(outputs: Any, prompt_tokens: int) -> str | None:
    choices = choices_of(outputs)
    told = (choices[0].get("logprobs") or {}) if choices else {}
    values, top = told.get("token_logprobs"), told.get("top_logprobs")
    if not isinstance(values, list) or not isinstance(top, list):
        return "it tells none"
    # The prompt's, and that of the one token that has to be generated.
    if len(values) <= 1:
        return "it tells only that of the token it generates"
    if len(values) != prompt_tokens + 1 or len(top) != len(values):
        return (
            f"it tells {len(values)} for {prompt_tokens} tokens and one more, so that lm-eval would read the wrong "
            "ones (does the server use another tokenizer, or add a token at the beginning?)"
        )
    inner = values[1:-1]
    if not all(isinstance(value, int | float) and math.isfinite(value) and value <= 0 for value in inner):
        return "some of them are no log-probabilities"
    if not any(inner):
        return "they are all 0"
    return None if all(isinstance(each, dict) and each for each in top[1:-1]) else "it names no likeliest tokens"
