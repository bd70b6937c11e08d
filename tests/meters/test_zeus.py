"""Zeus: unpatched, in a process of its own, against a daemon that speaks as zeusd does and counts along a known trace.

There is no AMD GPU, no Jetson and no Mac here. A Jetson's files can be laid out in a private mount namespace; of
AMD's library nothing real can exist, so a Python module stands in for it; Apple's figures are taken apart alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
from machines import FakePowercap, wave

from joulemark.harness.doctor import list_meters
from joulemark.meters import zeus
from joulemark.meters.errors import MeterLost
from joulemark.meters.registry import choose, probe_all
from joulemark.meters.testing import check_meter
from joulemark.meters.types import Unavailable
from joulemark.meters.zeus import ZeusMeter
from joulemark.meters.zeussoc import apple_joules

needs_zeus = pytest.mark.skipif(
    importlib.util.find_spec("zeus") is None, reason="Zeus is not installed (pip install 'joulemark[zeus]')"
)
SHARES = {(0, "cpu"): 1.0, (0, "dram"): 0.1, (1, "cpu"): 1.6}
"""Of the trace's power: package, its memory, and psys, which zeusd numbers as one more CPU."""


class Zeusd(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """zeusd's ``/discover`` and ``/cpu/get_cumulative_energy`` (zeusd/src/routes), as strict about queries as it is.

    Attributes:
        energy_j: Joules of the trace up to a time in seconds since the daemon was made.
        range_uj: The counter's range, which is added for each wrap, ``wraps_seen_late_s`` after it.
        say: Turns an entry of the answer into another, for faults.
        silent: Whether it takes questions and never answers.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.energy_j: Callable[[float], float] = wave()
        self.range_uj = 262_143_328_850
        self.wraps_seen_late_s = 0.0
        self.say: Callable[[dict[str, Any]], Any] = lambda entry: entry
        self.silent = False
        self.status = 200
        self.groups = ["gpu-read", "cpu-read"]
        self.auth_required = False
        self.began = time.monotonic()
        self.open: list[Any] = []
        super().__init__(str(path), _Handler)

    def trace_j(self, start_ns: float, end_ns: float) -> float:
        return self.energy_j(end_ns / 1e9 - self.began) - self.energy_j(start_ns / 1e9 - self.began)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path == "/discover":
            cpus = [{"id": 0, "dram_available": True}, {"id": 1, "dram_available": False}]
            return 200, {
                "gpus": [],
                "cpus": cpus,
                "enabled_api_groups": self.groups,
                "auth_required": self.auth_required,
            }
        if path != "/cpu/get_cumulative_energy" or not {"cpu", "dram"} <= query.keys() <= {"cpu", "dram", "cpu_ids"}:
            return 400, {"error": "no such route or query"}
        if self.status != 200:
            return self.status, {"error": "RAPL task terminated"}
        now = time.monotonic() - self.began
        return 200, {
            str(cpu): self.say({f"{part}_energy_uj": self._count(cpu, part, now) for part in ("cpu", "dram")})
            for cpu in map(int, query["cpu_ids"][0].split(","))
        }

    def _count(self, cpu: int, part: str, now: float) -> int | None:
        if (cpu, part) not in SHARES:
            return None
        share = SHARES[cpu, part] * 1e6
        count = round(share * self.energy_j(now)) % (self.range_uj + 1)
        seen = round(share * self.energy_j(max(0.0, now - self.wraps_seen_late_s))) // (self.range_uj + 1)
        return count + seen * self.range_uj

    def vanish(self) -> None:
        """Stop, close what is open, and take the socket away."""
        self.shutdown()
        self.server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)
        for connection in self.open:
            connection.close_connection = True
            with contextlib.suppress(OSError):  # Closed already.
                connection.connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Zeusd  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.server.open.append(self)

    def do_GET(self) -> None:
        while self.server.silent:
            time.sleep(0.01)
        url = urlsplit(self.path)
        status, content = self.server.answer(url.path, parse_qs(url.query))
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""

    def address_string(self) -> str:
        return "unix"


@pytest.fixture
def locked(powercap: FakePowercap, monkeypatch: pytest.MonkeyPatch) -> FakePowercap:
    """A powercap tree whose names all may read, and whose counters none may, root included."""
    for name in ("ZEUSD_SOCK_PATH", "ZEUSD_HOST_PORT", "ZEUSD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for folder, label in {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram", "intel-rapl:1": "psys"}.items():
        file = powercap.add(folder, label).file
        file.unlink()
        file.symlink_to("/nowhere")
    return powercap


@pytest.fixture
def zeusd(locked: FakePowercap, open_to_all: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zeusd]:  # noqa: ARG001
    path = open_to_all / "zeusd.sock"
    daemon = Zeusd(path)
    monkeypatch.setenv("ZEUSD_SOCK_PATH", str(path))
    thread = threading.Thread(target=daemon.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield daemon
    daemon.silent = False
    daemon.shutdown()
    daemon.server_close()
    thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that faults need not be waited for as long as in life."""
    monkeypatch.setattr(zeus._Zeus, "patience_s", 0.3)
    monkeypatch.setattr(zeus, "ANSWER_S", 0.5)


@pytest.fixture
def meter() -> Iterator[ZeusMeter]:
    """Made when asked for; whatever is left open is closed."""
    meter = ZeusMeter()
    yield meter
    meter.close()


def unavailable(meter: ZeusMeter) -> Unavailable:
    found = meter.probe()
    assert isinstance(found, Unavailable), found
    return found


def read_until_lost(meter: ZeusMeter, most_j: Callable[[], float]) -> None:
    """Read for up to five seconds; figures only rise, and to no more than could have been used."""
    until, last = time.monotonic() + 5, meter.read().values
    while time.monotonic() < until:
        now = meter.read().values
        assert all(last[name] <= now[name] <= most_j() for name in now)
        last = now
        time.sleep(0.02)


def helpers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if "joulemark.meters.zeuschild" in p.cmdline()]


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has something for Zeus")
def test_a_bare_machine_is_told_so_at_once_and_zeus_is_not_even_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    loaded = _modules_of_zeus()
    began = time.monotonic()
    found = unavailable(meter)
    assert time.monotonic() - began < 0.1
    assert "no AMD GPU, no Apple silicon, no Jetson, and no zeusd" in found.reason
    assert "ZEUSD_SOCK_PATH" in found.fix
    assert _modules_of_zeus() == loaded
    with pytest.raises(MeterLost, match=r"^zeus: no AMD GPU"):
        meter.open(0)


def _modules_of_zeus() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "zeus"]


def test_something_to_read_without_zeus_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    (tmp_path / "class" / "kfd" / "kfd").mkdir(parents=True)
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "zeus", None)
    found = unavailable(meter)
    assert "amd" in found.reason
    assert found.fix == "pip install 'joulemark[zeus]'"


@needs_zeus
@pytest.mark.usefixtures("zeusd")
def test_packages_and_memory_count_and_psys_is_not_taken_for_a_cpu(meter: ZeusMeter) -> None:
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    assert [(d.id, d.kind, d.grade, d.summed) for d in found] == [
        ("zeus:package-0", "package", "counter", True),
        ("zeus:dram-0", "dram", "counter", True),
        ("zeus:psys", "platform", "counter", False),
    ]
    assert helpers() == [], "a probe leaves nothing behind"


@needs_zeus
def test_joules_are_those_of_the_trace(zeusd: Zeusd, meter: ZeusMeter) -> None:
    meter.open(0)
    first = meter.read()
    time.sleep(0.8)
    second = meter.read()
    assert first.moment_ns is not None
    assert second.moment_ns is not None
    assert second.moment_ns - first.moment_ns > 0.5e9
    true_j = zeusd.trace_j(first.moment_ns, second.moment_ns)
    spent = {name: second.values[name] - first.values[name] for name in second.values}
    # Zeus's own moment is known to within the journey: 150 W x 5 ms is 0.75 J.
    assert spent["zeus:package-0"] == pytest.approx(true_j, abs=1.0)
    assert spent["zeus:dram-0"] == pytest.approx(0.1 * true_j, abs=0.1)
    assert spent["zeus:psys"] == pytest.approx(1.6 * true_j, abs=1.6)


@needs_zeus
def test_wraps_that_the_daemon_notices_late_neither_add_nor_take_joules(
    zeusd: Zeusd, locked: FakePowercap, meter: ZeusMeter
) -> None:
    zeusd.range_uj, zeusd.wraps_seen_late_s = 20_000_000, 0.15
    # It stands still from 1.05 s on, so that the last wrap, at 1 s, is noticed while nothing is used.
    zeusd.energy_j = lambda t: 100 * min(t, 1.05)
    for zone in locked.zones.values():
        (zone.folder / "max_energy_range_uj").write_text("20000000\n")
    meter.open(0)
    first = last = meter.read()
    while time.monotonic() - zeusd.began < 1.4:
        now = meter.read()
        assert all(now.values[name] >= last.values[name] for name in now.values)
        last = now
        time.sleep(0.02)
    assert first.moment_ns is not None
    assert last.moment_ns is not None
    true_j = zeusd.trace_j(first.moment_ns, last.moment_ns)
    assert true_j > 40, "several wraps"
    assert last.values["zeus:package-0"] - first.values["zeus:package-0"] == pytest.approx(true_j, abs=1.0)
    assert last.values["zeus:psys"] - first.values["zeus:psys"] == pytest.approx(1.6 * true_j, abs=1.6)


@needs_zeus
@pytest.mark.usefixtures("zeusd")
def test_it_keeps_what_a_meter_promises() -> None:
    assert len(check_meter(ZeusMeter, seconds=1.05)) == 3
    assert helpers() == []


FAULTS: dict[str, tuple[Callable[[Zeusd], None], str]] = {
    "the daemon and its socket are gone": (Zeusd.vanish, "gave nothing usable|gone"),
    "the daemon hangs": (lambda daemon: setattr(daemon, "silent", True), "no answer within|has said nothing"),
    "it fails": (lambda daemon: setattr(daemon, "status", 500), "RAPL task terminated"),
    "a counter goes backwards": (lambda daemon: setattr(daemon, "energy_j", lambda _: 1.0), "cannot be"),
    "a package has no figure": (lambda daemon: setattr(daemon, "say", lambda _: {}), "None microjoules of package-0"),
    "a figure is no number": (
        lambda daemon: setattr(daemon, "say", lambda e: e | {"cpu_energy_uj": float("nan")}),
        "nan microjoules",
    ),
    "a figure is a text": (lambda daemon: setattr(daemon, "say", lambda e: e | {"cpu_energy_uj": "7"}), "microjoules"),
    "an entry is something else": (lambda daemon: setattr(daemon, "say", lambda _: 7), "gave nothing usable"),
}


@needs_zeus
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_midway_is_a_lost_meter_and_never_a_figure(zeusd: Zeusd, fault: str) -> None:
    cause, message = FAULTS[fault]
    zeusd.energy_j = lambda t: 5000 + 100 * t
    meter = ZeusMeter()
    meter.open(0)
    began = time.monotonic()
    try:
        meter.read()
        cause(zeusd)
        with pytest.raises(MeterLost, match=message):
            read_until_lost(meter, lambda: 100 * (time.monotonic() - began) + 20)
    finally:
        meter.close()
    assert helpers() == []


@needs_zeus
def test_a_daemon_that_does_not_let_one_read_says_why(
    zeusd: Zeusd, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    zeusd.groups = ["gpu-read"]
    assert "cpu-read" in unavailable(meter).reason
    zeusd.groups, zeusd.auth_required = ["cpu-read"], True
    assert "ZEUSD_TOKEN" in unavailable(meter).reason
    zeusd.silent = True
    monkeypatch.setattr(zeus, "START_S", 0.6)
    assert "no answer within 0.6 s" in unavailable(meter).reason
    zeusd.vanish()
    monkeypatch.setattr(zeus, "START_S", 30.0)
    found = unavailable(meter)
    assert "Cannot reach Zeusd" in found.reason
    assert "zeusd" in found.fix


@needs_zeus
@pytest.mark.usefixtures("zeusd")
def test_a_cpu_whose_name_is_hidden_might_be_psys_and_is_refused(locked: FakePowercap, meter: ZeusMeter) -> None:
    shutil.rmtree(locked.root / "intel-rapl:1")
    found = unavailable(meter)
    assert "package or psys" in found.reason
    assert "JOULEMARK_SYSFS" in found.fix


def test_where_the_counters_can_be_read_the_daemon_is_left_alone(
    one_socket: FakePowercap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    assert one_socket.zones
    monkeypatch.setenv("ZEUSD_SOCK_PATH", str(tmp_path / "zeusd.sock"))
    assert "no zeusd that is needed here" in unavailable(meter).reason


@needs_zeus
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_another_user_is_reported_with_what_to_change(zeusd: Zeusd) -> None:
    Path(str(zeusd.server_address)).chmod(0o600)
    script = (
        "import os\n"
        "from joulemark.meters.zeuschild import Answering\n"
        "Answering()({'begin': ['zeusd']})  # loads what other users may not be allowed to\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "told = Answering()({'begin': ['zeusd']})\n"
        "print(told['reason'], '|', told['fix'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    reason, _, fix = done.stdout.partition("|")
    assert "Permission denied" in reason
    assert "--socket-permissions" in fix


AMDSMI = '''
"""Stands in for AMD's library: GPUs of a steady power, with counters right, wrong or missing."""
import os, time
from pathlib import Path

class AmdSmiException(Exception): pass
class AmdSmiLibraryException(AmdSmiException):
    def get_error_code(self): return 2
    def get_error_info(self): return "not supported"
class AmdSmiInitFlags:
    INIT_AMD_GPUS = 2

print("libamd_smi.so says hello on stdout")
CARDS = [card.split(":") for card in os.environ["FAKE_AMD"].split()]  # NAME:WATTS:COUNTED:KIND
BEGAN = time.monotonic()

def amdsmi_init(flags=0): pass
def amdsmi_shut_down(): pass
def amdsmi_get_processor_handles(): return list(range(len(CARDS)))
# As on some nodes, HIP's order is not the library's.
def amdsmi_get_gpu_enumeration_info(handle): return {"hip_id": len(CARDS) - 1 - handle}
def amdsmi_get_gpu_asic_info(handle): return {"market_name": CARDS[handle][0]}
def amdsmi_get_power_info(handle):
    watts, kind = int(CARDS[handle][1]), CARDS[handle][3]
    return {
        "current_socket_power": watts if kind == "current" else "N/A",
        "average_socket_power": watts if kind == "average" else 0 if kind == "none" else "N/A",
    }
def amdsmi_get_energy_count(handle):
    counted_w = float(CARDS[handle][2])
    if Path(os.environ["FAKE_WENT_BACK"]).exists():
        return {"energy_accumulator": 5, "counter_resolution": 15.259}
    counted = 1e9 + (time.monotonic() - BEGAN) * counted_w * 1e6 / 15.259
    return {"energy_accumulator": counted, "counter_resolution": 15.259}
'''


@pytest.fixture
def amd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with AMD's driver; returns the file whose being there sets its counters back."""
    for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZEUSD_SOCK_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sys" / "class" / "kfd" / "kfd").mkdir(parents=True)
    (tmp_path / "lib" / "amdsmi").mkdir(parents=True)
    (tmp_path / "lib" / "amdsmi" / "__init__.py").write_text(AMDSMI)
    monkeypatch.setenv("JOULEMARK_SYSFS", str(tmp_path / "sys"))
    monkeypatch.setenv("FAKE_WENT_BACK", str(tmp_path / "back"))
    monkeypatch.syspath_prepend(tmp_path / "lib")
    return tmp_path / "back"


MI250X = "MI250X:0:0:none MI250X:300:300:average"
"""Its two dies in the library's order; HIP's is the other way round. The second one shows no power of its own."""
THREEFOLD = "MI210:200:600:average"
"""A card that counts three times the energy that it uses, which Zeus lets pass."""


def watts_of(meter: ZeusMeter, seconds: float = 0.5) -> dict[str, float]:
    """Mean power by domain, of an open meter."""
    first = meter.read()
    time.sleep(seconds)
    second = meter.read()
    assert first.moment_ns is not None
    assert second.moment_ns is not None
    passed_s = (second.moment_ns - first.moment_ns) / 1e9
    return {name: (second.values[name] - first.values[name]) / passed_s for name in second.values}


@needs_zeus
@pytest.mark.usefixtures("impatient")
def test_amd_gpus_count_by_their_counters_where_all_of_these_agree_with_the_power_shown(
    amd: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", f"{MI250X} MI210:200:200:average MI300X:400:400:current")
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    assert {d.id: (d.kind, d.grade, d.provenance) for d in found} == {
        "zeus:gpu-0": ("gpu", "counter", "MI300X HIP-0"),
        "zeus:gpu-1": ("gpu", "counter", "MI210 HIP-1"),
        "zeus:gpu-2": ("gpu", "counter", "MI250X HIP-2+3"),
    }
    assert [(d.device, d.device_id) for d in found] == [("MI300X", "HIP-0"), ("MI210", "HIP-1"), ("MI250X", "HIP-2+3")]
    assert all("amdsmi through Zeus 0." in d.source for d in found)
    meter.open(0)
    assert watts_of(meter) == pytest.approx({"zeus:gpu-0": 400, "zeus:gpu-1": 200, "zeus:gpu-2": 300}, rel=0.02)
    amd.touch()
    with pytest.raises(MeterLost, match=r"zeus:gpu-. fell"):
        read_until_lost(meter, lambda: math.inf)


@needs_zeus
@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize("wrong", [THREEFOLD, "MI210:200:0:average"], ids=["three times the power", "stands still"])
def test_one_wrong_counter_makes_all_amd_gpus_polled_so_that_a_total_holds_every_card(
    wrong: str, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", f"{MI250X} {wrong} MI300X:400:400:current")
    chosen = choose(device="cuda", probed=probe_all([meter]))
    assert [domain.id for domain in chosen.summed] == ["zeus:gpu-0-power", "zeus:gpu-1-power", "zeus:gpu-2-power"]
    assert (chosen.grade, chosen.scope) == ("polled", "gpu")
    meter.open(0)
    assert watts_of(meter) == pytest.approx(
        {"zeus:gpu-0-power": 400, "zeus:gpu-1-power": 200, "zeus:gpu-2-power": 300}, rel=0.02
    )


@needs_zeus
@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize("probed", [True, False], ids=["by a probe", "by the first open"])
@pytest.mark.parametrize(
    ("at_first", "later", "told"),
    [
        ("MI300X:400:400:current", "MI300X:30:400:current", {"zeus:gpu-0": 400}),
        ("MI300X:400:400:current", "MI300X:150:400:current", {"zeus:gpu-0": 400}),
        (THREEFOLD, "MI210:200:200:average", {"zeus:gpu-0-power": 200}),
    ],
    ids=["work begins as it is opened again", "the power shown lags behind", "a wrong counter seems right later"],
)
def test_what_amd_gpus_are_read_by_is_decided_once(
    at_first: str, later: str, told: dict[str, float], probed: bool, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", at_first)
    if probed:
        meter.probe()
    else:
        meter.open(0)
        meter.close()
    monkeypatch.setenv("FAKE_AMD", later)
    meter.open(0)
    assert watts_of(meter, 0.3) == pytest.approx(told, rel=0.02)


@needs_zeus
@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize(
    ("cards", "means"),
    [
        (THREEFOLD, True),
        ("MI300X:400:0:current", False),
        (f"{THREEFOLD} MI300X:400:0:current", False),
    ],
    ids=["average power", "present power", "one of each, judged by the worse"],
)
def test_amds_average_power_is_of_the_time_before_and_its_present_power_of_the_moment(
    cards: str, means: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AMD", cards)
    with contextlib.closing(zeus._Zeus()) as source:
        source.ask()
        before_ns, sample, after_ns = time.monotonic_ns(), source.ask(), time.monotonic_ns()
    assert sample.means is means
    # It is up to a tenth of a second old: half of that on average, uniformly.
    assert before_ns <= sample.moment_ns + 0.05e9 <= after_ns
    assert sample.u_moment_s == pytest.approx(0.1 / math.sqrt(12), rel=0.1)


@needs_zeus
@pytest.mark.usefixtures("amd")
def test_an_amd_driver_that_knows_no_gpu_says_so(monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter) -> None:
    monkeypatch.setenv("FAKE_AMD", "")
    found = unavailable(meter)
    assert "knows no GPU" in found.reason
    assert "amd-smi" in found.fix


@needs_zeus
@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize(
    ("cards", "visible"),
    [(MI250X, "1"), ("MI300X:400:400:current W7900:0:0:average", "0,1")],
    ids=["the second die of an MI250 without the first", "a card that shows 0 W"],
)
def test_an_amd_gpu_without_power_of_its_own_is_refused_and_never_taken_for_one_that_draws_nothing(
    cards: str, visible: str, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", cards)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", visible)
    found = unavailable(meter)
    assert "shows no power of its own" in found.reason
    assert "HIP_VISIBLE_DEVICES" in found.fix


@needs_zeus
@pytest.mark.usefixtures("amd")
def test_a_way_of_choosing_gpus_that_zeus_does_not_follow_is_refused(
    monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", "MI300X:400:400:current")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    assert "ROCR_VISIBLE_DEVICES" in unavailable(meter).reason


@needs_zeus
@pytest.mark.usefixtures("amd")
def test_an_amd_driver_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    (tmp_path / "lib" / "amdsmi" / "__init__.py").write_text("raise OSError('libamd_smi.so: cannot open')\n")
    monkeypatch.setenv("FAKE_AMD", "")
    found = unavailable(meter)
    assert "amdsmi does not answer" in found.reason
    assert "ROCm 6.2" in found.fix
    assert "groups render and video" in found.fix


@needs_zeus
@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize("visible", ["GPU-5d2c0ee9b1ab8f34", "-1", ""], ids=["a UUID", "none", "empty"])
def test_visible_gpus_that_zeus_cannot_follow_say_what_to_write_instead(
    visible: str, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    monkeypatch.setenv("FAKE_AMD", "MI300X:400:400:current")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", visible)
    found = unavailable(meter)
    assert "AMD GPUs that are visible" in found.reason
    assert "HIP_VISIBLE_DEVICES" in found.fix
    assert "numbers" in found.fix


@needs_zeus
@pytest.mark.usefixtures("zeusd")
def test_what_there_is_a_sign_of_and_is_not_found_is_told_beside_what_is(
    locked: FakePowercap, meter: ZeusMeter
) -> None:
    (locked.sysfs / "class" / "kfd" / "kfd").mkdir(parents=True)
    found = meter.probe()
    assert not isinstance(found, Unavailable), found
    assert {d.id for d in found} == {"zeus:package-0", "zeus:dram-0", "zeus:psys"}
    assert meter.lacks is not None
    assert "amdsmi does not answer" in meter.lacks.reason
    assert "ROCm" in meter.lacks.fix
    assert "pip install --upgrade" not in meter.lacks.fix
    rows = list_meters(probe_all([meter]))
    assert [(row["id"], row["available"]) for row in rows] == [("zeus", False), *((d.id, True) for d in found)]
    assert rows[0]["reason"] == meter.lacks.reason
    assert choose(["zeus"], probed=probe_all([meter])).scope == "package+dram"


@needs_zeus
@pytest.mark.usefixtures("amd")
def test_nothing_is_lacking_where_all_is_found(monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter) -> None:
    monkeypatch.setenv("FAKE_AMD", "MI300X:400:400:current")
    meter.probe()
    assert meter.lacks is None


@needs_zeus
def test_a_part_that_is_gone_when_it_is_opened_again_is_told_and_found_again_when_it_is_back(
    zeusd: Zeusd, locked: FakePowercap, amd: Path, monkeypatch: pytest.MonkeyPatch, meter: ZeusMeter
) -> None:
    (locked.sysfs / "class" / "kfd" / "kfd").mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("JOULEMARK_SYSFS", str(locked.sysfs))
    monkeypatch.setenv("ZEUSD_SOCK_PATH", str(zeusd.server_address))
    monkeypatch.setenv("FAKE_AMD", "MI300X:400:400:current")
    assert not amd.exists()
    meter.open(0)
    all_of_it = meter.read().values.keys()
    assert {"zeus:gpu-0", "zeus:package-0"} <= all_of_it
    meter.close()
    zeusd.groups = ["gpu-read"]
    with pytest.raises(MeterLost, match="cpu-read"):
        meter.open(0)
    assert helpers() == []
    zeusd.groups = ["cpu-read"]
    meter.open(0)
    assert meter.read().values.keys() == all_of_it


ON_A_JETSON = """
set -e
mkdir -p "$2/etc" "$2/bin" "$2/bus"
cp -a /etc/. "$2/etc/" 2>/dev/null || true
echo '# R36 (release), REVISION: 4.3' > "$2/etc/nv_tegra_release"
printf '#!/bin/sh\\n[ "$1" = -p ] && echo aarch64 && exit\\nexec %s "$@"\\n' "$(command -v uname)" > "$2/bin/uname"
chmod +x "$2/bin/uname"
mount --bind "$2/etc" /etc
mount -t tmpfs none /sys/bus
rails=/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3
mkdir -p $rails
n=1
for rail in VDD_IN VDD_CPU_GPU_CV VDD_SOC; do
    echo $rail > $rails/in${n}_label
    echo 5000 > $rails/in${n}_input
    echo $((4000 / n)) > $rails/curr${n}_input
    n=$((n + 1))
done
export PATH="$2/bin:$PATH"
exec "$0" - "$rails" <<'SCRIPT'
import os, sys, time
from pathlib import Path
import psutil
os.environ.pop("JOULEMARK_SYSFS", None)
from joulemark.meters import zeus
from joulemark.meters.errors import MeterLost
zeus._Zeus.patience_s = 0.4
meter = zeus.ZeusMeter()
for d in meter.probe():
    print(d.id, d.kind, d.grade, d.summed, d.provenance)
meter.open(0)
first = meter.read()
time.sleep(0.8)
second = meter.read()
seconds = (second.moment_ns - first.moment_ns) / 1e9
print({name: round((second.values[name] - first.values[name]) / seconds, 1) for name in sorted(second.values)})
Path(sys.argv[1], "in1_input").unlink()
began = time.monotonic()
try:
    while time.monotonic() - began < 5:
        meter.read()
        time.sleep(0.02)
except MeterLost as lost:
    print(lost)
started = psutil.Process().children(recursive=True)
meter.close()
left = psutil.wait_procs(started, timeout=5)[1]
print(len(started) > 1, [process for process in left if process.status() != psutil.STATUS_ZOMBIE])
SCRIPT
"""


@needs_zeus
def test_a_jetsons_module_counts_as_a_whole_with_its_rails_beside_it(tmp_path: Path) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not make mount namespaces")
    command = ["unshare", "-m", "sh", "-c", ON_A_JETSON, sys.executable, "", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(lines[:2]) == [
        "zeus:cpu-rail package polled False NVIDIA Jetson cpu",
        "zeus:module soc polled True NVIDIA Jetson total",
    ]
    # 5 V x 4 A into the module; Zeus takes VDD_CPU_GPU_CV, 5 V x 2 A, for the CPU's rail.
    assert lines[2] == "{'zeus:cpu-rail': 10.0, 'zeus:module': 20.0}"
    assert "gave nothing usable" in lines[3]
    assert lines[4] == "True []", "Zeus and its helper are gone"


@needs_zeus
def test_apples_parts_add_up_and_what_a_chip_does_not_tell_is_left_out() -> None:
    """Zeus's own type; its figures are Apple's, and come from a Mac alone."""
    from zeus.device.soc.apple import AppleSiliconMeasurement

    told = AppleSiliconMeasurement(
        cpu_total_mj=4000, performance_cores_mj=[900, 800], gpu_mj=2000, dram_mj=500, ane_mj=0
    )
    assert apple_joules(told) == {
        "zeus:soc": 6.5,
        "zeus:cpu-total": 4.0,
        "zeus:gpu": 2.0,
        "zeus:dram": 0.5,
        "zeus:ane": 0.0,
    }
    with pytest.raises(ValueError, match="nothing of its CPU"):
        apple_joules(AppleSiliconMeasurement(gpu_mj=2000))
