#!/usr/bin/env bash
# Measures the model of a commit and that of this folder in one run, and gates.
#
#     bash gate.sh COMMIT [FOLDER]
#
# FOLDER gets the run, the report, the rules and the verdict, in place of those of the last time; energy-gate if it is
# left out. The exit code is that of `joulemark gate`. MODEL says what the model is, where @ stands for the folder of
# either commit.
set -euo pipefail
commit=${1:?name the commit to compare with}
out=${2:-energy-gate}
model=${MODEL:-hf:pretrained=@/model}
here=$(git rev-parse --show-toplevel)
base=$(mktemp -d)
git -C "$here" worktree add --quiet --detach "$base" "$commit"
trap 'git -C "$here" worktree remove --force "$base" || true' EXIT
# Nothing is imported from the folder that is measured.
export PYTHONSAFEPATH=1
[ ! -f "$out/run.json" ] || rm -r "$out"

# Plan and rules are those of the commit, so that no change loosens them. This script itself is the change's own:
# where that matters, have its owners review it, or let a required workflow run it.
joulemark run "$base/joulemark.toml" -m "base=${model//@/$base}" -m "cand=${model//@/$here}" \
  --order abba --repeats "${REPEATS:-6}" --out "$out"
# The commit's folder goes when this ends: its rules stay beside what is judged by them, and how to get it back is said.
cp "$base/joulemark.toml" "$out/rules.toml"
echo "Before the commands below: git worktree add --detach $base $(git -C "$base" rev-parse HEAD)"
joulemark gate --baseline "$out:base" --candidate "$out:cand" --config "$out/rules.toml" \
  --junit "$out/gate.xml" --markdown "$out/gate.md"
