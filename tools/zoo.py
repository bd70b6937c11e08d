"""Put trained models on the shelf: ``python tools/zoo.py build/zoo``.

Exports each model that was trained, copies the n-gram's table, and writes the cards in
``harness/zoo``: what it is, how it was made, and what it is not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
from export import build, load
from model import SHAPES

ZOO = Path(__file__).parents[1] / "harness" / "zoo"
NOT = (
    "Not a general language model: it knows only the eight kinds of questions it was trained on. "
    "A first model, trained for minutes to under an hour on one CPU core and not to its limit."
)


def file_facts(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_card(name: str, card: dict[str, Any]) -> None:
    (ZOO / f"{name}.json").write_text(json.dumps({"name": name, **card}, indent=2) + "\n", encoding="utf-8")
    print(f"{name}: {card['params']} parameters, {card['bytes']} bytes")


def shelve_dense(name: str, trained: Path) -> None:
    recipe = json.loads((trained / f"{name}.train.json").read_text(encoding="utf-8"))
    path = ZOO / f"{name}.onnx"
    onnx.save(build(load(trained / f"{name}.pt", name)), path)
    shape = SHAPES[name]
    write_card(
        name,
        {
            "kind": "dense",
            "description": f"Llama-shaped: {shape.layers} layers of width {shape.width}, {shape.heads} heads",
            **file_facts(path),
            "params": recipe["params"],
            "active_params": recipe["params"],
            "licence": "Apache-2.0",
            "training": {key: value for key, value in recipe.items() if key not in ("name", "params")}
            | {"command": _train_command(name, recipe)},
            "what_it_is_not": NOT,
        },
    )


def _train_command(name: str, recipe: dict[str, Any]) -> str:
    # Token slots of the whole schedule, padding included: these give the same number of steps again.
    slots = int(recipe["planned_steps"]) * int(recipe["rows"]) * int(recipe["context"])
    return f"python tools/train.py {name} --tokens {slots} --seed {recipe['seed']} --out build/zoo"


def shelve_ngram(trained: Path) -> None:
    recipe = json.loads((trained / "ngram.train.json").read_text(encoding="utf-8"))
    command = f"python tools/ngram.py --questions {recipe['questions']} --seed {recipe['seed']} --out build/zoo"
    path = ZOO / "ngram.npz"
    shutil.copyfile(trained / "ngram.npz", path)
    write_card(
        "ngram",
        {
            "kind": "ngram",
            "description": "The most frequent next character after up to five characters",
            **file_facts(path),
            "params": recipe["params"],
            "active_params": 6,
            "licence": "Apache-2.0",
            "training": {key: value for key, value in recipe.items() if key != "params"} | {"command": command},
            "what_it_is_not": NOT,
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    trained = parser.parse_args().trained
    ZOO.mkdir(exist_ok=True)
    shelve_ngram(trained)
    for name in SHAPES:
        if (trained / f"{name}.pt").exists():
            shelve_dense(name, trained)
