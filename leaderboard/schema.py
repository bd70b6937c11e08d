"""The published JSON schema of a submission: docs/submission.schema.json, for those who write one without us."""

from __future__ import annotations

import json

from .submission import SCHEMA, Submission

__all__ = ["schema_text"]


def schema_text() -> str:
    """The schema as it is published; what it cannot say, such as sums, `joulemark leaderboard validate` does."""
    content = Submission.model_json_schema(by_alias=True)
    told = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "description": "A run of Joulemark's with each item's outcome. docs/leaderboard.md has what else must hold.",
    }
    return json.dumps(told | {key: value for key, value in content.items() if key not in told}, indent=1) + "\n"
