"""Put trained models on the shelf: ``python tools/zoo.py build/zoo``.

Exports each model that was trained, copies the n-gram's table, makes the entrants that come of them
(8 bits, thresholds of early exits, cascades), and writes the cards in ``harness/zoo``: what each is, how it
was made, and what it is not.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from corpus import corpus
from eight_bits import in_eight_bits
from export import build, load
from leaks import count_leaks
from model import SHAPES, Shape

from joulemark.harness import models
from joulemark.harness.reference import load_engine
from joulemark.tasks.reference import FAMILIES, held_out, questions_digest
from joulemark.tasks.types import Answer

ZOO = models.ZOO
NOT = (
    "Not a general language model: it knows only the nine kinds of questions it was trained on, "
    "and learned them from 30 million characters in less than an hour on one CPU core."
)
THRESHOLDS = (0.9, 0.99)
IN_EIGHT_BITS = ("dense-240k", "dense-800k")
CASCADES = {
    "cascade-60k-800k": ("dense-60k", "dense-800k"),
    "cascade-240k-800k": ("dense-240k", "dense-800k"),
    "cascade-int8": ("int8-240k", "int8-800k"),
}
CASCADE_THRESHOLD = 0.9


def file_facts(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_card(name: str, card: dict[str, Any]) -> None:
    # A card that began as another model's copy has that one's name.
    card = {"name": name} | card | {"name": name, "licence": "Apache-2.0", "what_it_is_not": NOT}
    (ZOO / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    models.card.cache_clear()
    print(f"{name}: {card['params']} parameters, {card['active_params']} active, {card['bytes']} bytes")


def describe(shape: Shape) -> str:
    text = f"{shape.layers} layers of width {shape.width}"
    return text + (f", {shape.chosen} of {shape.experts} experts" if shape.experts else "")


def kind_of(shape: Shape) -> str:
    return "moe" if shape.experts else "early-exit" if shape.exits else "dense"


def shelve(label: str, trained: Path) -> None:
    """A trained model's graph and its card; with early exits a card for each threshold."""
    recipe = json.loads((trained / f"{label}.train.json").read_text(encoding="utf-8"))
    name, seed = recipe["model"], recipe["seed"]
    if recipe["steps_done"] < recipe["steps"]:
        raise SystemExit(f"{label} is not trained to its end: {recipe['steps_done']} of {recipe['steps']} steps")
    shape = SHAPES[name]
    path = ZOO / f"{label}.onnx"
    onnx.save(build(load(trained / f"{label}.pt", name)), path)
    command = f"python tools/train.py {name} --tokens {recipe['asked_tokens']} --seed {seed} --fast --out build/zoo"
    elsewhere = {"name", "model", "params", "active_params", "shape"}
    if not shape.exits:
        elsewhere |= {"early_exit", "exits_from"}
    if not shape.experts:
        elsewhere |= {"balance"}
    training = {key: value for key, value in recipe.items() if key not in elsewhere}
    card = {
        "kind": kind_of(shape),
        "description": describe(shape) + (f", seed {seed}" if seed != 1 else ""),
        **({"replica_of": name} if seed != 1 else {}),
        **file_facts(path),
        "params": recipe["params"],
        "active_params": recipe["active_params"],
        "shape": asdict(shape),
        "training": training | {"command": command, "leaks": leaks_of(trained, seed, recipe["asked_tokens"])},
    }
    if not shape.exits:
        write_card(label, card)
        return
    for threshold in THRESHOLDS:
        tail = f"-t{threshold * 100:.0f}"
        replica = {"replica_of": name + tail} if seed != 1 else {}
        made = {
            "threshold": threshold,
            "description": f"{card['description']}, fewer when {threshold * 100:.0f} % sure",
        }
        write_card(label + tail, card | made | replica)
        answers = asked_of(label + tail)
        done, generated = sum(a.layers or 0 for a in answers), sum(a.generated_tokens for a in answers)
        spared = (shape.layers * generated - done) / sum(a.computed_tokens for a in answers)
        depth = {"layers_per_token": round(done / generated, 3)}
        # Of all characters that it computes: those of prompts go through all layers.
        active = round(recipe["params"] - spared * layer_params(shape))
        write_card(label + tail, card | made | replica | {"active_params": active, "validation": depth})


def layer_params(shape: Shape) -> int:
    """Parameters of a layer that an exit spares: all but those of keys and values, and its norms."""
    return 2 * shape.width**2 + 3 * shape.width * shape.hidden


def asked_of(name: str) -> list[Answer]:
    """What a model answers to validation questions, 100 of each family."""
    prompts = [q.prompt for family in FAMILIES for q in held_out(family, "validation", 25)]
    return load_engine(name, batch_size=1, threads=1).generate(prompts, ["\n"], 24)


def shelve_in_eight_bits(made_from: str, trained: Path) -> str:
    """The dense model with the matrices of its layers in 8 bits; returns its name."""
    label = made_from.replace("dense", "int8")
    path = ZOO / f"{label}.onnx"
    card = json.loads((ZOO / f"{made_from}.json").read_text(encoding="utf-8"))
    name = card.get("replica_of", made_from)
    onnx.save(in_eight_bits(build(load(trained / f"{made_from}.pt", name))), path)
    replica = {"replica_of": name.replace("dense", "int8")} if name != made_from else {}
    write_card(
        label,
        card
        | replica
        | {
            "kind": "int8",
            "description": f"{made_from} in 8 bits",
            "note": "A batch shares one scale for its activations, so that some answers depend on the batch.",
            **file_facts(path),
            "made_from": made_from,
        },
    )
    return label


def shelve_cascade(name: str, tail: str) -> None:
    """A card alone: the members have the weights."""
    members = [member + tail for member in CASCADES[name]]
    small, large = (json.loads((ZOO / f"{member}.json").read_text(encoding="utf-8")) for member in members)
    identity = json.dumps([small["sha256"], large["sha256"], CASCADE_THRESHOLD])
    card = {
        "kind": "cascade",
        "description": f"{members[0]}, then {members[1]} if under {CASCADE_THRESHOLD * 100:.0f} % sure",
        "members": members,
        "threshold": CASCADE_THRESHOLD,
        "bytes": small["bytes"] + large["bytes"],
        "sha256": hashlib.sha256(identity.encode()).hexdigest(),
        "params": small["params"] + large["params"],
        "active_params": small["params"],
        **({"replica_of": name} if tail else {}),
    }
    write_card(name + tail, card)
    share = float(np.mean([answer.escalated for answer in asked_of(name + tail)]))
    active = round(small["params"] + share * large["params"])
    write_card(name + tail, card | {"active_params": active, "validation": {"escalated": round(share, 3)}})


def shelve_ngram(trained: Path) -> None:
    recipe = json.loads((trained / "ngram.train.json").read_text(encoding="utf-8"))
    command = f"python tools/ngram.py --tokens {recipe['asked_tokens']} --seed {recipe['seed']} --out build/zoo"
    path = ZOO / "ngram.npz"
    shutil.copyfile(trained / "ngram.npz", path)
    write_card(
        "ngram",
        {
            "kind": "ngram",
            "description": "most frequent character after the last 5, or fewer",
            **file_facts(path),
            "params": recipe["params"],
            "active_params": 6,
            "training": {k: v for k, v in recipe.items() if k != "params"}
            | {"command": command, "leaks": leaks_of(trained, recipe["seed"], recipe["asked_tokens"])},
        },
    )


@cache
def leaks_of(trained: Path, seed: int, tokens: int) -> dict[str, Any]:
    """How many questions of a corpus were looked at, how many are in the test set, and which test set that is."""
    ids, _ = corpus(trained, seed, tokens)
    counted = count_leaks(ids)
    print(f"seed {seed}: {counted}")
    if counted["leaked"]:
        raise SystemExit("the corpus gives test questions away; nothing that learnt from it goes on the shelf")
    return counted | {"test": questions_digest()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    trained = parser.parse_args().trained
    if (trained / "ngram.train.json").exists():
        shelve_ngram(trained)
    labels = {path.name.removesuffix(".train.json") for path in trained.glob("*.train.json")} - {"ngram"}
    for label in sorted(labels):
        shelve(label, trained)
    tails = sorted({label.partition("dense-800k")[2] for label in labels})
    for dense in sorted({made_from + tail for made_from in IN_EIGHT_BITS for tail in tails} & labels):
        labels.add(shelve_in_eight_bits(dense, trained))
    for tail, (name, members) in itertools.product(tails, CASCADES.items()):
        if {member + tail for member in members} <= labels:
            shelve_cascade(name, tail)
