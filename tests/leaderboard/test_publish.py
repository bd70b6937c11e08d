"""Publishing: the workflow by real bash and git, reviews, the example board, and scripts as their sources give them."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from believable import BEGAN, write_believable_run
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.leaderboard.commands import leaderboard
from joulemark.leaderboard.findings import Finding
from joulemark.leaderboard.review import Checked, as_markdown
from joulemark.leaderboard.store import look_through, read_store
from joulemark.leaderboard.submission import digest, pack
from joulemark.leaderboard.watching import watched

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "docs" / "examples" / "leaderboard-pages.yml"
EXAMPLE = ROOT / "leaderboard" / "example" / "store"
BIN = Path(sys.executable).parent


def packed(folder: Path, run_id: str, *, days: int = 0, host: str = "9f2c9f2c9f2c", seed: int = 0) -> bytes:
    """A submission of a small run, begun so many days later than others."""
    run = write_believable_run(
        folder / run_id,
        ("ref/ngram",),
        ("jm_dates",),
        items=8,
        repeats=2,
        run_id=run_id,
        began=BEGAN + timedelta(days=days),
        host=host,
        seed=seed,
    )
    return pack(run)


def cheated(content: bytes) -> bytes:
    """With energies of a tenth, and its checksum mended."""
    told = json.loads(content)
    told["cells"][0]["energy"]["gross_j"] /= 10
    told["sha256"] = digest(told)
    return json.dumps(told).encode()


@dataclass(frozen=True)
class Ran:
    """How a job ended, what its summary and its log say, its steps' outputs, and its folders."""

    code: int
    summary: str
    log: str
    outputs: Mapping[str, str]
    workspace: Path
    temp: Path


class Forge:
    """A board's repository, pull requests to it, and the jobs of its workflow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.origin, self.jobs = folder, folder / "origin.git", 0
        git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(self.origin))
        git(folder, "clone", "--quiet", str(self.origin), "keeper")
        self.keeper = folder / "keeper"
        (self.keeper / "README.md").write_text("A board.\n", encoding="utf-8")
        git(self.keeper, "add", ".")
        self.push("begin")

    def push(self, why: str) -> None:
        git(self.keeper, "commit", "--quiet", "--message", why)
        git(self.keeper, "push", "--quiet", "origin", "HEAD:main")

    def pull_request(self, number: int, files: Mapping[str, bytes | Path]) -> None:
        """A branch from main with these files, a Path being where a link leads, as a forge offers it."""
        git(self.keeper, "pull", "--quiet", "origin", "main")
        git(self.keeper, "switch", "--quiet", "--create", f"pull-{number}")
        for path, content in files.items():
            (self.keeper / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                (self.keeper / path).symlink_to(content)
            else:
                (self.keeper / path).write_bytes(content)
        git(self.keeper, "add", "--all")
        git(self.keeper, "commit", "--quiet", "--message", f"pull request {number}")
        git(self.keeper, "push", "--quiet", "origin", f"HEAD:refs/pull/{number}/head")
        git(self.keeper, "switch", "--quiet", "--force", "main")

    def merge(self, number: int) -> None:
        git(self.keeper, "pull", "--quiet", "origin", "main")
        git(self.keeper, "merge", "--quiet", "--no-edit", f"pull-{number}")
        git(self.keeper, "push", "--quiet", "origin", "HEAD:main")

    def overtake(self) -> None:
        """Have the next push to main come too late: somebody merged a moment before."""
        (self.keeper / "README.md").write_text("Merged meanwhile.\n", encoding="utf-8")
        git(self.keeper, "commit", "--quiet", "--all", "--message", "meanwhile")
        git(self.keeper, "push", "--quiet", "origin", "HEAD:refs/heads/meanwhile")
        hook = self.origin / "hooks" / "update"
        merged = "git update-ref refs/heads/main refs/heads/meanwhile"
        hook.write_text(f"#!/bin/sh\n[ -e merged ] || {{ touch merged; {merged}; exit 1; }}\n", encoding="utf-8")
        hook.chmod(0o755)

    def check(self, number: int, sender: str) -> Ran:
        base = git(self.keeper, "rev-parse", "origin/main").strip()
        head = git(self.keeper, "rev-parse", f"pull-{number}").strip()
        told = {"base.sha": base, "head.sha": head, "number": str(number), "user.login": sender}
        return self.run("check", {f"github.event.pull_request.{name}": value for name, value in told.items()})

    def run(self, job: str, told: Mapping[str, str], handed: Path | None = None) -> Ran:
        """Its shell steps in order until one fails, in a fresh clone; Joulemark is installed already.

        Args:
            job: Its name.
            told: What GitHub's expressions say.
            handed: An artifact that it takes.
        """
        self.jobs += 1
        temp, workspace = self.folder / f"temp-{self.jobs}", self.folder / f"work-{self.jobs}"
        temp.mkdir()
        if handed is not None:
            shutil.copy(handed, temp)
        git(self.folder, "clone", "--quiet", "--no-local", str(self.origin), str(workspace))
        summary, output = temp / "summary", temp / "output"
        summary.touch(), output.touch()
        workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
        log, code = "", 0
        for step in workflow["jobs"][job]["steps"]:
            if "run" not in step or step["name"] == "Install Joulemark":
                continue
            env = {name: filled(str(value), told) for name, value in (workflow["env"] | step.get("env", {})).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=workspace,
                env=environment(
                    GITHUB_WORKSPACE=str(workspace),
                    GITHUB_STEP_SUMMARY=str(summary),
                    GITHUB_OUTPUT=str(output),
                    RUNNER_TEMP=str(temp),
                    **env,
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            log, code = log + done.stdout, done.returncode
            if code:
                break
        outputs = dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())
        return Ran(code, summary.read_text(encoding="utf-8"), log, outputs, workspace, temp)


PUBLISHED = {
    "github.token": "a-token",
    "github.repository_owner": "keeper",
    "github.event.repository.name": "board",
}


def test_two_contributors_send_one_cheats_one_measures_anew_and_the_board_has_it_all(tmp_path: Path) -> None:
    forge = Forge(tmp_path)
    first, second = packed(tmp_path, "a-1"), packed(tmp_path, "a-2", days=3, seed=1)
    other = packed(tmp_path, "b-1", host="b0b0b0b0b0b0")
    forge.pull_request(1, {"submissions/ann/a-1.json": first})
    forge.pull_request(2, {"submissions/ben/b-1.json": cheated(other)})

    good, bad = forge.check(1, "ann"), forge.check(2, "ben")
    assert (good.code, bad.code) == (0, 1)
    assert "Sent by `ann` in pull request 1." in good.summary
    assert "1 of 1 submission is valid" in good.summary
    assert "sum-net" in bad.summary
    assert (good.workspace / "README.md").exists()
    assert not (good.workspace / "submissions").exists(), "nothing of a pull request is checked out"

    forge.pull_request(3, {"submissions/ann/a-2.json": second})
    forge.pull_request(4, {"submissions/ben/b-1.json": other})
    for number in (1, 2, 3):
        forge.merge(number)
    published = forge.run("accept", PUBLISHED)
    assert (published.code, published.outputs) == (0, {"refused": "1", "accepted": "yes"}), published.log
    forge.overtake()
    kept = forge.run("keep", PUBLISHED, published.temp / "store.bundle")
    assert kept.code == 0, kept.log
    git(forge.keeper, "pull", "--quiet", "origin", "main")
    store = read_store(forge.keeper / "store")
    assert [(e.run_id, e.by) for e in store.current] == [("a-2", "ann")]
    assert [(e.run_id, e.by) for e in store.superseded] == [("a-1", "ann")]
    assert sorted(map(str, (forge.keeper / "submissions").rglob("*.json"))) == [
        str(forge.keeper / "submissions" / "ben" / "b-1.json")
    ], "what was merged past the check stays to be looked at"
    assert (forge.keeper / "README.md").read_text(encoding="utf-8") == "Merged meanwhile.\n"
    said = git(forge.keeper, "log", "-1", "--format=%B")
    assert "submissions/ann/a-2.json: accepted, run a-2: 1 model" in said
    assert forge.run("accept", PUBLISHED).outputs == {"refused": "1"}, "nothing new is no commit"
    site = published.temp / "site"
    assert (site / "run" / "a-2.html").exists()
    assert "https://keeper.github.io/board/index.html" in (site / "index.html").read_text(encoding="utf-8")
    assert forge.run("deploy", {"needs.accept.outputs.refused": "1"}).code == 1
    assert forge.run("deploy", {"needs.accept.outputs.refused": "0"}).code == 0


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("submissions/ann/x.json", b"{}"),
        ("submissions/eve/sub/x.json", b"{}"),
        ("submissions/eve/.hidden.json", b"{}"),
        ("submissions/eve/x.json.sh", b"{}"),
        ("submissions/eve/x$(touch hacked).json", b"{}"),
        ("submissions/eve/two\nlines.json", b"{}"),
        ("submissions/eve/link.json", Path("/etc/hostname")),
        (".github/workflows/leaderboard.yml", b"on: push\n"),
        ("store/index.json", b"{}"),
        ("README.md", b"changed\n"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_pull_request_may_add_plain_files_of_its_sender_alone(
    tmp_path: Path, path: str, content: bytes | Path
) -> None:
    """The good one beside it is not looked at either: a reviewer is told the rule, and nothing of the rest."""
    forge = Forge(tmp_path)
    forge.pull_request(1, {"submissions/eve/good.json": b"{}", path: content})
    ran = forge.check(1, "eve")
    assert ran.code == 1
    assert "Not taken: " in ran.log
    assert ran.summary.startswith("A pull request adds files submissions/eve/NAME.json")
    taken = [found for found in (ran.temp / "sent").rglob("*") if not found.is_dir()]
    assert [found.name for found in taken] == ["good.json"]
    assert not list(tmp_path.rglob("hacked"))


def test_a_check_is_of_the_push_that_it_stands_beside_and_only_the_store_is_pushed(tmp_path: Path) -> None:
    forge = Forge(tmp_path)
    forge.pull_request(1, {"submissions/eve/x.json": b"{}"})
    base = git(forge.keeper, "rev-parse", "origin/main").strip()
    told = {"base.sha": base, "head.sha": base, "number": "1", "user.login": "eve"}
    late = forge.run("check", {f"github.event.pull_request.{name}": value for name, value in told.items()})
    assert late.code == 1
    assert "pushed to meanwhile" in late.summary
    (forge.keeper / "README.md").write_text("Mine.\n", encoding="utf-8")
    git(forge.keeper, "commit", "--quiet", "--all", "--message", "more than the store")
    (forge.keeper / "store").mkdir()
    (forge.keeper / "store" / "index.json").write_text("{}", encoding="utf-8")
    git(forge.keeper, "add", "--all")
    git(forge.keeper, "commit", "--quiet", "--message", "the store, after that")
    bundle = tmp_path / "store.bundle"
    for commit in ("main~1", "main"):
        git(forge.keeper, "switch", "--quiet", "--detach", commit)
        git(forge.keeper, "bundle", "create", "--quiet", str(bundle), f"{base}..HEAD")
        git(forge.keeper, "switch", "--quiet", "main")
        kept = forge.run("keep", PUBLISHED, bundle)
        assert kept.code == 1
        assert "It is not one commit that changes store/ and submissions/ alone." in kept.log
        assert git(forge.origin, "rev-parse", "main").strip() == base


def test_the_workflow_is_what_github_reads_has_no_known_weakness_and_pins_what_it_uses() -> None:
    for tool in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--no-progress", "--pedantic"],
    ):
        linted = subprocess.run([BIN / tool[0], *tool[1:], WORKFLOW], text=True, capture_output=True)
        assert linted.returncode == 0, linted.stdout
    used = [line for line in WORKFLOW.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert len(used) == 7
    assert all(re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d", line) for line in used)


def test_each_job_has_no_more_rights_than_it_needs_and_no_expression_is_in_a_script() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {}
    assert jobs["check"]["permissions"] == {"contents": "read"}
    assert jobs["accept"]["permissions"] == {"contents": "read"}
    assert jobs["keep"]["permissions"] == {"contents": "write"}
    assert not any("pip" in step.get("run", "") for step in jobs["keep"]["steps"]), (
        "no package of others sees the token"
    )
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert "pull_request" in jobs["check"]["if"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert not [step["name"] for step in steps if "${{" in step.get("run", "")]
    assert not [name for step in jobs["check"]["steps"] for name in step.get("env", {}) if name == "TOKEN"]
    for step in steps:
        if "run" in step:
            told = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
            assert told.stderr == ""


HOSTILE = "<img src=x onerror=alert(1)> [a](http://elsewhere.invalid) | @everyone\n# Approved `joulemark`"


def test_a_review_shows_what_was_sent_and_nothing_in_it_is_markup(tmp_path: Path) -> None:
    told = json.loads(packed(tmp_path, "a-1"))
    told["cells"][0]["model"] = HOSTILE
    told["sha256"] = digest(told)
    file = tmp_path / "sent.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    (tmp_path / "no.json").write_bytes(b"no")
    files, out = [str(file), str(tmp_path / "no.json")], tmp_path / "out" / "r.md"
    ran = CliRunner().invoke(leaderboard, ["validate", *files, "--markdown", str(out)], standalone_mode=False)
    assert ran.return_value == 1
    text = out.read_text(encoding="utf-8")
    assert "0 of 2 submissions are valid" in text
    assert "| name-markup |" in text
    assert "| not-json |" in text
    for fact in ("AMD EPYC 7B13, 2 threads", "modelled, package", "jm_dates", "a-1"):
        assert fact in text
    for raw in ("<img", "](", "@everyone", "://", "\n# Approved"):
        assert raw not in text


@settings(max_examples=25)
@given(st.lists(st.text(max_size=400), min_size=1, max_size=100))
def test_a_review_is_short_enough_for_a_comment_and_each_finding_is_one_row(texts: list[str]) -> None:
    findings = tuple(Finding(code="schema", path=text, message=text) for text in texts)
    files = [Checked(file=text, facts={text: text}, findings=findings) for text in texts]
    text = as_markdown(files)
    assert len(text.encode()) < 64_000
    alone = as_markdown(files[:1])
    rows = [line for line in alone.split("\n") if line.startswith("| schema |")]
    assert len(rows) in (len(findings), 0)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_commands_print_one_json_object_of_their_own_schema(tmp_path: Path) -> None:
    packed(tmp_path, "a-1")
    sent, store = tmp_path / "a.json", tmp_path / "store"
    (tmp_path / "bad.json").write_bytes(b"no")

    def told(*arguments: object) -> dict[str, Any]:
        ran = CliRunner().invoke(leaderboard, [*map(str, arguments), "--json"], standalone_mode=False)
        found: dict[str, Any] = json.loads(ran.stdout)
        return found | {"code": ran.return_value}

    pack_told = told("pack", tmp_path / "a-1", "-o", sent)
    assert pack_told["schema"] == "joulemark.packed/1"
    assert (pack_told["run_id"], pack_told["cells"], pack_told["findings"]) == ("a-1", 2, [])
    added = told("add", sent, sent, tmp_path / "bad.json", "--store", store, "--by", "ann")
    assert (added["schema"], added["code"]) == ("joulemark.added/1", 1)
    assert [each["result"] for each in added["files"]] == ["accepted", "known", "refused"]
    assert added["files"][0]["entry"]["sha256"] == pack_told["sha256"]
    assert added["files"][2]["findings"][0]["code"] == "not-json"
    assert told("add", "--store", store) == {
        "schema": "joulemark.looked/1",
        "store": str(store),
        "current": 1,
        "superseded": 0,
        "mended": False,
        "findings": [],
        "code": 0,
    }
    built = told("build", "--store", store, "--out", tmp_path / "site")
    assert (built["schema"], built["runs"], built["code"]) == ("joulemark.site/1", 1, 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_takes_long_tells_how_far_it_is_and_what_is_quick_tells_nothing() -> None:
    def work(seconds: float, to: io.StringIO) -> str:
        now = [0.0]

        def do(number: int) -> int:
            now[0] += seconds
            return number

        assert list(watched(range(40), do, "files", to=to, clock=lambda: now[0])) == list(range(40))
        return to.getvalue()

    assert work(0.04, io.StringIO()) == ""
    lines = work(1.5, io.StringIO()).splitlines()
    assert lines[0] == "7 of 40 files, about 0:50 left"
    assert 3 <= len(lines) <= 6
    live = work(1.5, Terminal())
    assert live.endswith("\r\x1b[K"), "the line is gone when the last result is told"
    assert "\n" not in live


def test_the_example_board_is_of_real_runs_with_a_history_and_builds(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "store")
    looked = look_through(copy)
    assert not looked.findings
    assert not looked.mended
    assert looked.store.superseded
    assert len({entry.by for entry in looked.store.current}) >= 2
    assert sum(file.stat().st_size for file in EXAMPLE.rglob("*.json")) < 1.5e6
    built = CliRunner().invoke(leaderboard, ["build", "--store", str(copy), "--out", str(tmp_path / "site")])
    assert built.exit_code == 0, built.output
    for entry in looked.store.current:
        assert list((tmp_path / "site" / "run").glob(f"{entry.run_id.lower()}*.html"))


@pytest.mark.skipif(
    shutil.which("npm") is None, reason="no Node here: the scripts are not built anew (apt install npm)"
)
def test_the_boards_scripts_are_what_their_sources_give(tmp_path: Path) -> None:
    """All of them, whichever the build makes; where packages cannot be had, it is skipped and says so."""
    own = ROOT / "leaderboard"
    shutil.copytree(own / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "static").mkdir()
    got = subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"],
        cwd=tmp_path / "web",
        capture_output=True,
        text=True,
    )
    if got.returncode:
        pytest.skip(f"npm has no packages here, so that nothing is built anew: {got.stderr.strip()[-200:]}")
    built = subprocess.run(["npm", "run", "build"], cwd=tmp_path / "web", capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    made = {file.name: file.read_bytes() for file in (tmp_path / "static").glob("*.js")}
    kept = {file.name: file.read_bytes() for file in (own / "static").glob("*.js")}
    assert made.keys() == kept.keys(), "run `npm ci && npm run build` in leaderboard/web"
    assert [name for name in made if made[name] != kept[name]] == []


def filled(text: str, told: Mapping[str, str]) -> str:
    """Its expressions put in; one that nobody told is an error."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: told[match[1]], text)


def environment(**more: str) -> dict[str, str]:
    """That of a machine with Joulemark on the PATH, whose git knows nobody."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI", "GIT_"))}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return quiet | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | alone | more


def git(tree: Path, *arguments: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "pull.rebase=false")
    command = ["git", *named, *arguments]
    return subprocess.run(command, cwd=tree, env=environment(), check=True, capture_output=True, text=True).stdout
