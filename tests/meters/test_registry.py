"""Choosing meters: the best total that covers the computing, never a mixed one, and clear words where there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from joulemark.meters import registry
from joulemark.meters.errors import MeasuringFailed, UsageError
from joulemark.meters.naming import Named, parse_named
from joulemark.meters.registry import Probed, choose, describe_kind, find_meters, find_names, kinds, probe_all
from joulemark.meters.types import Domain, Reading, Unavailable


class FakeMeter:
    def __init__(self, name: str = "plugged") -> None:
        self.id = name

    def probe(self) -> Sequence[Domain] | Unavailable:
        return [domain(f"{self.id}:all", "wall", "polled")]

    def open(self, pid: int) -> None:
        pass

    def read(self) -> Reading:
        raise NotImplementedError

    def close(self) -> None:
        pass


def domain(name: str, kind: str, grade: str = "counter", *, summed: bool = True) -> Domain:
    return Domain(
        id=name,
        kind=kind,  # type: ignore[arg-type]
        grade=grade,  # type: ignore[arg-type]
        resolution_j=None,
        update_s=None,
        range_j=None,
        rel_u_scale=0.1,
        rel_u_workload=0.0,
        source="a test",
        provenance="a test",
        summed=summed,
    )


def probed(name: str, *domains: Domain) -> Probed:
    return Probed(meter=FakeMeter(name), domains=domains)


RAPL = probed(
    "rapl",
    domain("rapl:package-0", "package"),
    domain("rapl:dram-0", "dram"),
    domain("rapl:core-0", "package", summed=False),
    domain("rapl:psys", "platform", summed=False),
)
NO_RAPL = Probed(meter=FakeMeter("rapl"), unavailable=Unavailable(reason="only root may", fix="sudo chmod"))
NVML = probed("nvml", domain("nvml:gpu-0", "gpu"), domain("nvml:gpu-1", "gpu"))
MODELLED = probed("modelled", domain("modelled:cpu", "package", "modelled"))
WALL = probed("wall", domain("wall:plug", "wall", "polled"))
TWIN = probed("twin", domain("twin:package-0", "package"), domain("twin:gpu-0", "gpu"))


def total(*found: Probed, wanted: Sequence[str] | None = None, device: str = "cpu") -> tuple[set[str], str, str]:
    choice = choose(wanted, device=device, probed=found)  # type: ignore[arg-type]
    return {d.id for d in choice.summed}, choice.grade, choice.scope


def test_package_memory_and_gpu_counters_make_one_total() -> None:
    ids = {"rapl:package-0", "rapl:dram-0", "nvml:gpu-0", "nvml:gpu-1"}
    assert total(RAPL, NVML, MODELLED) == (ids, "counter", "package+dram+gpu")
    assert total(RAPL, NVML, MODELLED, device="cuda") == (ids, "counter", "package+dram+gpu")


def test_a_model_on_the_cpu_is_never_judged_by_the_gpu_s_counter_alone() -> None:
    assert total(NO_RAPL, NVML, MODELLED) == ({"modelled:cpu"}, "modelled", "package")


def test_a_model_on_the_gpu_is_measured_there_without_a_modelled_cpu_mixed_in() -> None:
    assert total(NO_RAPL, NVML, MODELLED, device="cuda") == ({"nvml:gpu-0", "nvml:gpu-1"}, "counter", "gpu")


def test_a_model_on_the_gpu_is_not_modelled_from_cpu_time() -> None:
    with pytest.raises(MeasuringFailed, match=r"no meter here sees the cuda device \(rapl: only root may\)"):
        total(NO_RAPL, MODELLED, device="cuda")


def test_the_wall_beats_everything_and_is_added_to_nothing() -> None:
    assert total(RAPL, NVML, MODELLED, WALL) == ({"wall:plug"}, "polled", "wall")


def test_two_meters_that_see_one_thing_count_it_once() -> None:
    assert total(RAPL, TWIN)[0] == {"rapl:package-0", "rapl:dram-0", "twin:gpu-0"}


def test_a_named_domain_is_the_whole_total_and_the_others_stand_beside_it() -> None:
    choice = choose(["rapl:psys"], probed=[RAPL, NVML])
    assert ([d.id for d in choice.summed], choice.scope) == (["rapl:psys"], "platform")
    assert [m.id for m in choice.meters] == ["rapl"]
    assert len(choice.domains) == 4


def test_a_named_meter_gives_its_own_total() -> None:
    assert total(RAPL, NVML, wanted=["rapl"])[0] == {"rapl:package-0", "rapl:dram-0"}
    assert total(RAPL, MODELLED, wanted=["modelled"])[0] == {"modelled:cpu"}


@pytest.mark.parametrize(
    "wanted", [["rapl:psys", "rapl:package-0"], ["rapl", "rapl:core-0"], ["wall", "rapl"], ["rapl:psys", "nvml"]]
)
def test_naming_what_overlaps_is_refused_since_it_would_count_twice(wanted: list[str]) -> None:
    with pytest.raises(UsageError, match="twice"):
        total(RAPL, NVML, WALL, wanted=wanted)


@pytest.mark.parametrize("kind", ["package", "platform", "soc", "wall"])
def test_a_meter_that_the_user_made_is_not_added_to_one_that_sees_the_same(kind: str) -> None:
    made = probed("mine", domain("mine:all", kind))
    with pytest.raises(UsageError, match="twice"):
        total(RAPL, made, wanted=["rapl", "mine=prometheus:url=http://127.0.0.1:9,query=x,unit=J,scope=package"])


def test_two_plugs_of_one_machine_are_added_up() -> None:
    left, right = (probed(name, domain(f"{name}:plug", "wall", "wall")) for name in ("left", "right"))
    wanted = ["left=shelly:host=192.0.2.7", "right=shelly:host=192.0.2.8"]
    assert total(left, right, wanted=wanted) == ({"left:plug", "right:plug"}, "wall", "wall")


def test_what_belongs_in_no_total_by_itself_is_one_when_its_meter_is_named() -> None:
    battery = probed("battery", domain("battery:machine", "platform", "polled", summed=False))
    assert total(battery, MODELLED)[0] == {"modelled:cpu"}
    assert total(battery, MODELLED, wanted=["battery"]) == ({"battery:machine"}, "polled", "platform")


def test_a_system_on_a_chip_stands_alone_since_it_holds_the_rest() -> None:
    mac = probed("zeus", domain("zeus:soc", "soc", "modelled"))
    assert total(mac, MODELLED) == ({"zeus:soc"}, "modelled", "soc")


def test_naming_meters_of_two_grades_is_refused() -> None:
    with pytest.raises(UsageError, match="one grade"):
        total(NVML, MODELLED, wanted=["nvml", "modelled"])


@pytest.mark.parametrize(("wanted", "device"), [("nvml", "cpu"), ("rapl:dram-0", "cpu"), ("modelled", "cuda")])
def test_naming_a_meter_that_does_not_see_the_computing_is_refused(wanted: str, device: str) -> None:
    with pytest.raises(UsageError, match=f"does not see the {device} device"):
        total(RAPL, NVML, MODELLED, wanted=[wanted], device=device)


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        UsageError, match="no meter is called 'rappl'; there are rapl, perf, nvml, nvml-power, battery, zeus, modelled"
    ):
        choose(["rappl"])
    with pytest.raises(UsageError, match=r"no domain 'rapl:package-7' here; it has rapl:package-0, "):
        total(RAPL, wanted=["rapl:package-7"])


def test_a_kind_that_is_taken_for_a_meter_is_explained() -> None:
    with pytest.raises(UsageError, match="shelly is a kind of meter: give one a name, as in --meter mine=shelly:"):
        choose(["shelly:host=192.0.2.7"])


def test_a_meter_from_outside_that_has_to_be_told_where_to_look_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "supply"

        def load(self) -> object:
            return lambda file, name="supply": FakeMeter(name)  # noqa: ARG005

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])  # noqa: ARG005
    (found,) = [p for p in probe_all() if p.meter.id == "supply"]
    assert found.unavailable == Unavailable(
        reason="it has to be told where to look", fix="name it: --meter mine=supply:file=FILE"
    )
    assert [meter.id for meter in find_meters(["mine=supply:file=x"])] == ["mine"]


def test_a_meter_from_outside_whose_figures_are_text_is_unavailable_and_breaks_no_run() -> None:
    meter = FakeMeter("texts")
    meter.probe = lambda: [replace(domain("texts:all", "package"), rel_u_scale="0.02")]  # type: ignore[method-assign,arg-type]
    (found,) = probe_all([meter])
    assert found.unavailable is not None
    assert "its probe broke: TypeError" in found.unavailable.reason


def test_a_named_meter_that_does_not_work_fails_with_reason_and_fix() -> None:
    with pytest.raises(
        MeasuringFailed, match=r"rapl does not work here: only root may\. To fix it: sudo chmod"
    ) as caught:
        total(NO_RAPL, MODELLED, wanted=["rapl"])
    assert caught.value.exit_code == 5


def test_without_any_meter_it_fails_and_says_what_to_do() -> None:
    with pytest.raises(MeasuringFailed, match="joulemark doctor") as caught:
        total(NO_RAPL)
    assert caught.value.exit_code == 5


def test_the_built_in_meters_are_there_and_some_meter_works_on_any_machine() -> None:
    assert [meter.id for meter in find_meters()][:7] == [
        "rapl",
        "perf",
        "nvml",
        "nvml-power",
        "battery",
        "zeus",
        "modelled",
    ]
    assert any(p.domains for p in probe_all())


def test_a_meter_from_outside_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plugged", f"{__name__}:FakeMeter", registry.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda _: FakeMeter)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "joulemark.meters" else [])
    assert choose(["plugged"]).scope == "wall"


def test_a_meter_from_outside_that_breaks_takes_no_other_down(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("broken", "no_such_module:Meter", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])  # noqa: ARG005
    found = {p.meter.id: p for p in probe_all()}
    assert found["broken"].unavailable is not None
    assert "no_such_module" in found["broken"].unavailable.reason
    assert found["modelled"].domains


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose entry points cannot be imported, cannot be called, take no name, or break when they are made."""
    (tmp_path / "crashing.py").write_text(
        "class Alone:\n    id = 'alone'\ndef supply(name, volts='5'):\n    raise OSError('no bus')\ntext = 'no meter'\n"
    )
    folder = tmp_path / "joulemark_crash-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: joulemark-crash\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[joulemark.meters]\ncrash = no_such_module:Meter\ntext = crashing:text\nalone = crashing:Alone\n"
        "supply = crashing:supply\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "crashing", raising=False)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("meter", "message"),
    [
        (
            "b=crash:needed=1",
            "the meter crash of the package joulemark-crash cannot be loaded: ModuleNotFoundError: No m",
        ),
        ("b=text:needed=1", "the meter text of the package joulemark-crash cannot be loaded: TypeError"),
        ("b=alone", "alone takes no name; say --meter alone"),
        ("b=supply", "supply, from another package, broke: OSError('no bus')"),
    ],
)
def test_a_kind_from_outside_that_is_broken_is_told_by_name_and_is_no_fault_of_ours(meter: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        find_meters([meter])
    assert message in str(told.value)
    assert told.value.exit_code == 2


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_loaded_or_named_is_listed_as_a_meter_with_its_package_and_not_as_a_kind() -> None:
    assert kinds() == ("shelly", "tasmota", "prometheus", "redfish", "replay", "supply")
    with pytest.raises(UsageError, match=r"no kind of meter 'nonsense'; there are shelly, .*, replay, supply$"):
        find_meters(["b=nonsense:x=1"])
    found = {p.meter.id: p.unavailable for p in probe_all() if p.unavailable}
    assert "the package joulemark-crash cannot be loaded" in found["crash"].reason
    assert found["crash"].fix == "reinstall the package joulemark-crash with what it needs, or remove it"


@pytest.mark.usefixtures("installed")
def test_names_are_known_without_loading_what_others_wrote() -> None:
    ids, named = find_names()
    assert ids == ("rapl", "perf", "nvml", "nvml-power", "battery", "zeus", "modelled")
    assert {"shelly", "crash"} <= set(named)
    assert "crashing" not in sys.modules


@pytest.mark.usefixtures("installed")
def test_what_may_be_said_of_a_kind_is_read_from_its_maker() -> None:
    plug = describe_kind("shelly")
    assert plug.example == "plug=shelly:host=192.0.2.7"
    told = {argument.name: argument for argument in plug.arguments}
    assert (told["host"].needed, told["host"].default) == (True, None)
    assert (told["channel"].needed, told["channel"].default) == (False, "0")
    assert told["update_s"].text.startswith("How often it renews its power")
    assert describe_kind("supply").example == "mine=supply"
    for kind in kinds():
        manual = describe_kind(kind)
        assert kind == "supply" or (manual.text and all(argument.text for argument in manual.arguments)), kind
        assert "`" not in f"{manual}"
        assert find_parsed(manual.example).kind == kind
    for name, why in (("rapl", "takes no arguments; say --meter rapl"), ("shely", "did you mean 'shelly'")):
        with pytest.raises(UsageError, match=why):
            describe_kind(name)


def find_parsed(text: str) -> Named:
    named = parse_named(text)
    assert named is not None
    return named


def test_a_probe_that_breaks_is_an_unavailable_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = FakeMeter()
    monkeypatch.setattr(meter, "probe", lambda: 1 / 0)
    (found,) = probe_all([meter])
    assert found.unavailable is not None
    assert "division by zero" in found.unavailable.reason
