"""What users paste into their pipelines is sound, and does what it says as far as this machine can tell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_runs import write_run

from joulemark.harness.store import read_run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
BIN = Path(sys.executable).parent
SCHEMAS = {
    "vendor.github-actions": ROOT / "action.yml",
    "vendor.github-workflows": EXAMPLES / "github-gate.yml",
    "vendor.gitlab-ci": EXAMPLES / "gitlab-gate.yml",
}
PLAN = """
[run]
tasks = ["jm_units"]
limit = 40
batch_size = 1
idle_s = 0.5
"""


LOOSE = "[gate]\nmax_increase = '90%'\nmax_drop = 90.0\n"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_example_is_what_its_service_reads(schema: str) -> None:
    linted = lint("check-jsonschema", "--builtin-schema", schema, SCHEMAS[schema])
    assert linted.returncode == 0, linted.stdout


def test_neither_the_action_nor_the_workflow_has_a_known_weakness() -> None:
    linted = lint("zizmor", "--offline", "--no-progress", ROOT / "action.yml", EXAMPLES / "github-gate.yml")
    assert linted.returncode == 0, linted.stdout


def test_scripts_are_bash() -> None:
    for script in [EXAMPLES / "gate.sh", *(step["run"] for step in composite_steps())]:
        asked = (
            {"args": ["bash", "-n", script]} if isinstance(script, Path) else {"args": ["bash", "-n"], "input": script}
        )
        assert subprocess.run(**asked, text=True, capture_output=True).stderr == ""


def test_every_action_of_others_is_pinned_by_its_commit_and_tells_its_version() -> None:
    text = (EXAMPLES / "github-gate.yml").read_text(encoding="utf-8")
    used = [line for line in text.splitlines() if "uses:" in line]
    assert len(used) == 4
    for line in used:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # (v\d|HERE)", line), line


def test_the_workflow_gives_the_action_inputs_that_it_has_and_uses_outputs_that_it_has() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    text = (EXAMPLES / "github-gate.yml").read_text(encoding="utf-8")
    [step] = [step for step in yaml.safe_load(text)["jobs"]["gate"]["steps"] if step.get("id") == "gate"]
    needed = {name for name, told in action["inputs"].items() if told.get("required")}
    assert needed <= step["with"].keys() <= action["inputs"].keys()
    assert set(re.findall(r"steps\.gate\.outputs\.(\w+)", text)) <= action["outputs"].keys()


def test_the_action_fails_a_candidate_that_answers_worse_and_hands_on_its_verdict_and_files(tmp_path: Path) -> None:
    """In a workspace with modules of its own, which neither the steps nor the processes that these start import."""
    write_modules(tmp_path)
    job = Job(tmp_path, plan="plan.toml", baseline="ref/dense-240k", candidate="small=ref/ngram", repeats="2")
    assert job.run() == 1
    outputs = job.outputs()
    assert outputs["verdict"] == "fail"
    assert "<testcase" in Path(outputs["junit"]).read_text(encoding="utf-8")
    for name in ("report", "markdown", "badge"):
        assert Path(outputs[name]).stat().st_size > 0
    summary = job.summary.read_text(encoding="utf-8")
    assert summary == Path(outputs["markdown"]).read_text(encoding="utf-8")
    assert "jm_units" in summary
    first, *between, last = job.log("measure")
    assert re.fullmatch(r"::stop-commands::(\w{32})", first)
    assert last == f"::{first[-32:]}::"
    assert any("jm_units" in line for line in between)
    assert {step["env"]["PYTHONSAFEPATH"] for step in composite_steps()} == {"1"}


@pytest.mark.parametrize("failed", [0, 5])
def test_a_pass_by_what_is_left_of_a_run_that_failed_does_not_pass_the_job(tmp_path: Path, failed: int) -> None:
    (tmp_path / "loose.toml").write_text(LOOSE, encoding="utf-8")
    job = measured_job(tmp_path, failed, config="loose.toml")
    assert job.run("gate") == failed
    assert job.outputs()["verdict"] == "pass"


def test_rules_are_those_of_config_else_of_the_plan_else_of_the_workspace(tmp_path: Path) -> None:
    never, (tree, other, bare) = "[gate]\nmin_quality = 99.9\n", (tmp_path / name for name in ("a", "b", "c"))
    for folder in (tree, other, bare):
        folder.mkdir()
        (folder / "joulemark.toml").write_text(LOOSE if folder == tree else never, encoding="utf-8")
    of_plan = measured_job(tree, plan="plan.toml")
    (tree / "plan.toml").write_text(PLAN + never, encoding="utf-8")
    assert of_plan.run("gate") == 1
    (other / "loose.toml").write_text(LOOSE, encoding="utf-8")
    of_config = measured_job(other, plan="plan.toml", config="loose.toml")
    (other / "plan.toml").write_text(PLAN + never, encoding="utf-8")
    assert of_config.run("gate") == 0
    assert measured_job(bare, plan="plan.toml").run("gate") == 1, "this plan has no rules"


def measured_job(folder: Path, failed: int = 0, **inputs: str) -> Job:
    """A job that has measured two models which are alike."""
    models = dict.fromkeys(("baseline", "candidate"), (0.7, 0.002, 1))
    write_run(folder / "run", models, tasks=("addition",), spread=0.001)
    job = Job(folder, **inputs)
    job.said = {"install": {"joulemark": "joulemark"}, "measure": {"run": f"{folder}/run", "failed": str(failed)}}
    return job


def test_what_is_written_into_an_input_is_never_run(tmp_path: Path) -> None:
    evil = 'ref/ngram$(touch hacked); touch hacked; "`touch hacked`'
    job = Job(tmp_path, plan="plan.toml", baseline=evil, candidate=evil, repeats="2")
    assert job.run() == 2
    assert not (tmp_path / "hacked").exists()
    assert "verdict" not in job.outputs()
    assert all("${{" not in step["run"] for step in composite_steps())


def test_a_change_cannot_loosen_its_own_gate(tmp_path: Path) -> None:
    """The rules of the commit ask for more than any model has; those of the change ask for nothing."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "joulemark.toml").write_text(PLAN + "[gate]\nmin_quality = 99.0\n", encoding="utf-8")
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "-m", "base")
    (tree / "joulemark.toml").write_text(PLAN + LOOSE, encoding="utf-8")
    write_modules(tree)
    runs = set()
    for _ in range(2):
        done = subprocess.run(
            ["bash", EXAMPLES / "gate.sh", "HEAD"],
            cwd=tree,
            env=environment(MODEL="ref/ngram", REPEATS="2"),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stderr
        assert "99" in (tree / "energy-gate" / "gate.md").read_text(encoding="utf-8")
        assert len(git(tree, "worktree", "list").splitlines()) == 1
        again = shlex.split(done.stdout.splitlines()[-1])
        assert again[:2] == ["joulemark", "gate"]
        rules = tree / again[again.index("--config") + 1]
        assert "min_quality = 99" in rules.read_text(encoding="utf-8"), "they are there after it ended"
        assert re.search(r"git worktree add --detach \S+ [0-9a-f]{40}\n", done.stdout)
        runs.add(read_run(tree / "energy-gate").header.run_id)
    assert len(runs) == 2, "the second time it measures anew, in the same folder"


def write_modules(folder: Path) -> None:
    """Modules that end whatever imports them, by names that every Python knows and by those of libraries."""
    for name in ("json", "tomllib", "click", "numpy", "runpy"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('the workspace has its own {name}')", encoding="utf-8")


class Job:
    """A job that uses the action, with as much of GitHub's runner as the action sees."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
        self.folder, self.summary = folder, folder / "summary.md"
        self.said: dict[str, dict[str, str]] = {}
        action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        usual = {name: told.get("default", "") for name, told in action["inputs"].items()}
        self.inputs, self.results = usual | inputs, action["outputs"]

    def run(self, only: str = "") -> int:
        """Its steps in order until one fails, or one alone; the exit code of the last."""
        for step in composite_steps():
            if only not in ("", step["id"]):
                continue
            output = self.folder / f"output-{step['id']}"
            output.touch()
            env = environment(
                GITHUB_ACTIONS="true",
                GITHUB_ACTION_PATH=str(ROOT),
                GITHUB_OUTPUT=str(output),
                GITHUB_STEP_SUMMARY=str(self.summary),
                RUNNER_TEMP=str(self.folder),
                **{name: self.filled(str(value)) for name, value in step["env"].items()},
            )
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            with self.log_of(step["id"]).open("wb") as log:
                code = subprocess.run(command, cwd=self.folder, env=env, stdout=log).returncode
            lines = output.read_text(encoding="utf-8").splitlines()
            self.said[step["id"]] = dict(line.split("=", 1) for line in lines)
            if code:
                return code
        return 0

    def log(self, step: str) -> list[str]:
        """What a step said on its stdout, line by line."""
        return self.log_of(step).read_text(encoding="utf-8").splitlines()

    def log_of(self, step: str) -> Path:
        return self.folder / f"log-{step}"

    def outputs(self) -> dict[str, str]:
        """What the job would see of it."""
        found = {name: self.filled(told["value"]) for name, told in self.results.items()}
        return {name: value for name, value in found.items() if value}

    def filled(self, text: str) -> str:
        """Its expressions put in; one of another kind than these two is an error."""

        def value(match: re.Match[str]) -> str:
            if named := re.fullmatch(r"inputs\.([\w-]+)", match[1]):
                return self.inputs[named[1]]
            step = re.fullmatch(r"steps\.(\w+)\.outputs\.(\w+)", match[1])
            assert step, f"nothing here fills {match[0]}"
            return self.said.get(step[1], {}).get(step[2], "")

        return re.sub(r"\$\{\{ (.+?) \}\}", value, text)


def composite_steps() -> list[dict[str, Any]]:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    steps: list[dict[str, Any]] = action["runs"]["steps"]
    return steps


def environment(**more: str) -> dict[str, str]:
    """That of a machine with Joulemark on the PATH, where no service sees us."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI"))}
    return quiet | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | more


def lint(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / tool, *arguments]
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def git(tree: Path, *arguments: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *named, *arguments], cwd=tree, check=True, capture_output=True, text=True).stdout
