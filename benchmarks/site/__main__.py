"""How a board of 50,000 rows bears it: building, size, and in Chromium beside Plotly and Tabulator on the same rows.

    python benchmarks/site [--json] [SUBMISSIONS]

Makes a store (`store.py` says of what), builds its site, and opens two pages in turn, ROUNDS times each: the site's own
index, whose data are put into one view so that all rows are shown at once, and a page of the same rows with Plotly's
scattergl and Tabulator's virtual table, which npm fetches. Times are what the main thread worked (`TaskDuration` of the
browser's own metrics), layout and painting included; the middle of the rounds. Exit code 1 where a limit is missed:
30 s and 1 GB for building, 1.8 MB for the page, 1.2 s until it is ready, 0.25 s for sorting and filtering, 30 KB for
200 rows. Needs playwright with Chromium and, for the peers, npm.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from store import write_store

ROUNDS = 5
PEERS = ("plotly.js-dist-min@4.1.2", "tabulator-tables@6.5.3")
LIMITS = {
    "build_s": 30.0, "build_mb": 1000.0, "page_mb": 1.8, "page_200_kb": 30.0, "ready_s": 1.2, "sort_s": 0.25,
    "filter_s": 0.25,
}  # fmt: skip
_OURS = {
    "sort": "document.querySelector('button[data-key=quality]').click()",
    "filter": "const s = document.getElementById('search'); s.value = '12'; s.dispatchEvent(new Event('input'))",
}
_THEIRS = {
    "sort": "grid.setSort('quality', 'desc')",
    "filter": "grid.setFilter('label', 'like', '12')",
}


def main(submissions: int = 60, as_object: bool = False) -> int:
    """Measure everything and print it; 1 where a limit is missed."""
    with tempfile.TemporaryDirectory(prefix="joulemark-site-") as name:
        folder = Path(name)
        rows = write_store(folder / "store", submissions=submissions)
        told: dict[str, Any] = {"rows": rows, **_build(folder / "store", folder / "out")}
        told["page_mb"] = _page_bytes(folder / "out") / 1e6
        write_store(folder / "few", submissions=5, models=8, tasks=4)
        _build(folder / "few", folder / "small")
        told["page_200_kb"] = _page_bytes(folder / "small") / 1e3
        _in_one_view(folder / "out")
        peer = _make_peer(folder)
        told |= _browse(folder / "out" / "index.html", peer)
        if peer:
            told["peer_mb"] = _page_bytes(peer.parent) / 1e6
    missed = [name for name, limit in LIMITS.items() if told[name] > limit]
    print(json.dumps(told | {"missed": missed}, indent=2) if as_object else _table(told, missed))
    return int(bool(missed))


def _build(store: Path, out: Path) -> dict[str, float]:
    """Seconds of `joulemark leaderboard build`, and the most memory of all processes together of another one, MB.

    Whoever asks how much memory they have takes a tenth of their time.
    """
    command = [str(Path(sys.executable).parent / "joulemark"), "leaderboard", "build", "--store", store, "--out", out]
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    seconds, most = time.perf_counter() - began, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, sum(map(_memory_mb, _family(process.pid))))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"build ended with {process.returncode}")
    return {"build_s": seconds, "build_mb": most}


def _family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [pid, *(own for child in told.split() for own in _family(int(child)))]


def _memory_mb(pid: int) -> float:
    """Memory of a process; of pages that several share its part."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _page_bytes(site: Path) -> int:
    """Bytes of the first page with all scripts and styles that it names, each compressed."""
    page = (site / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'<(?:script[^>]*\ssrc|link rel="stylesheet" href)="([^":]+)"', page)
    return sum(len(gzip.compress((site / name).read_bytes())) for name in ["index.html", *named])


def _in_one_view(site: Path) -> None:
    """All rows in the first view, as the page of a board with one task and one kind of hardware has them."""
    data = _data(site)
    rows = len(data["columns"]["entrant"])
    data["views"] = {name: values[:1] for name, values in data["views"].items()} | {"rows": [rows]}
    (site / "data.js").write_text(f"window.joulemarkBoard={json.dumps(data, separators=(',', ':'))};\n")


def _data(site: Path) -> dict[str, Any]:
    text = (site / "data.js").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text[text.index("=") + 1 : text.rindex(";")])
    return found


def _make_peer(folder: Path) -> Path | None:
    """The peers' page of the same rows; None where there is no npm."""
    if not shutil.which("npm"):
        return None
    made = folder / "peer"
    made.mkdir()
    quiet = ["npm", "install", "--silent", "--no-audit", "--no-fund", *PEERS]
    if subprocess.run(quiet, cwd=made, check=False).returncode:
        return None
    packages = made / "node_modules"
    for source, name in (
        (packages / "plotly.js-dist-min" / "plotly.min.js", "plotly.min.js"),
        (packages / "tabulator-tables" / "dist" / "js" / "tabulator.min.js", "tabulator.min.js"),
        (packages / "tabulator-tables" / "dist" / "css" / "tabulator.min.css", "tabulator.min.css"),
        (Path(__file__).with_name("peer.html"), "index.html"),
        (Path(__file__).with_name("peer.js"), "peer.js"),
    ):
        shutil.copyfile(source, made / name)
    rows = json.dumps(_plain_rows(_data(folder / "out")), separators=(",", ":"))
    (made / "rows.js").write_text(f"window.rows={rows};\n", encoding="utf-8")
    return made / "index.html"


def _plain_rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Records, which is what both libraries take."""
    columns, entrants, names = data["columns"], data["entrants"], data["names"]
    rows = []
    for row, at in enumerate(columns["entrant"]):
        told = {name: entrants[name][at] for name in ("label", "params", "precision", "licence")}
        told |= {name: columns[name][row] for name in ("rank", "energy", "quality", "frontier", "memory_mb")}
        told |= {name: None if told[name] is None else names[name][told[name]] for name in names if name in told}
        told["rate"] = 10 * told["quality"] / told["energy"] if told["quality"] and told["energy"] else None
        rows.append(told)
    return rows


def _browse(ours: Path, peer: Path | None) -> dict[str, float]:
    """Seconds of the main thread until ready, to sort and to filter; with ``peer_`` those of the peers."""
    from playwright.sync_api import sync_playwright

    pages = [("", ours, _OURS, "document.querySelector('#table tbody tr[data-row]') !== null")]
    pages += [("peer_", peer, _THEIRS, "window.built === true")] if peer else []
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        where = os.environ.get("JOULEMARK_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        for _ in range(ROUNDS):
            for prefix, path, actions, ready in pages:
                for name, seconds in _one_round(browser, path, actions, ready).items():
                    found.setdefault(f"{prefix}{name}_s", []).append(seconds)
        browser.close()
    return {name: statistics.median(values) for name, values in found.items()}


def _one_round(browser: Any, path: Path, actions: dict[str, str], ready: str) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    page = context.new_page()
    metrics = context.new_cdp_session(page)
    metrics.send("Performance.enable")
    page.goto(path.as_uri())
    page.wait_for_function(ready)
    _settle(page)
    told = {"ready": _worked(metrics)}
    for name, action in actions.items():
        before = _worked(metrics)
        page.evaluate(f"() => {{ {action} }}")
        _settle(page)
        told[name] = _worked(metrics) - before
    context.close()
    return told


def _settle(page: Any) -> None:
    """Until what was begun is drawn."""
    page.evaluate("() => new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 50)), 50))")


def _worked(metrics: Any) -> float:
    """Seconds that the page's main thread has worked."""
    told = metrics.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in told if each["name"] == "TaskDuration")


def _table(told: dict[str, Any], missed: list[str]) -> str:
    lines = [
        f"{told['rows']:,} rows; {os.cpu_count()} CPUs",
        "",
        f"{'':14}{'joulemark':>11}{'limit':>9}{'peers':>9}{'ratio':>8}",
    ]
    for name, limit in LIMITS.items():
        peer = told.get(f"peer_{name.removeprefix('page_') if name == 'page_mb' else name}")
        beside = f"{peer:>9.2f}{peer / told[name]:>7.1f}x" if peer else ""
        lines.append(f"{name:14}{told[name]:>11.2f}{limit:>9.2f}{beside}{'   MISSED' if name in missed else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = [each for each in sys.argv[1:] if each != "--json"]
    sys.exit(main(*map(int, arguments), as_object="--json" in sys.argv))
