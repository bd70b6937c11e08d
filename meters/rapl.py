"""RAPL: the energy counters of Intel's and AMD's CPUs and their memory, read through Linux's powercap tree."""

from __future__ import annotations

import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Sequence

from .errors import MeterLost
from .powercap import Zone, explain_absence, explain_permission, find_zones, powercap_folder
from .types import MOST_PLAUSIBLE_W, Domain, Reading, Unavailable

__all__ = ["REL_U_DRAM", "REL_U_PACKAGE", "REL_U_SOURCE", "RaplMeter", "probe_update_s", "unwrap"]

REL_U_PACKAGE, REL_U_DRAM = 0.03, 0.1
REL_U_SOURCE = (
    "assumed {:.0%}, since no maker states a calibration: package figures follow plug power closely since Haswell "
    "(Khan et al., RAPL in Action, ACM ToMPECS 3(2), 2018), memory's with a constant offset, largest when idle "
    "(Desrochers et al., MEMSYS 2016)"
)
_POLL_S = 0.06
_POLL_AT_MOST_S = 0.25
_EMPTY_FOR_AT_MOST_S = 0.25
_MIRROR_WITHIN_UJ = 1_000_000
_LONGEST = 64
_SAME_FOR_NS = 10_000_000
"""How long a counter may show one value before it is asked whether its file is still the one in the tree."""


class RaplMeter:
    """Joules of packages and memory. Grade ``counter``: the hardware adds them up by itself."""

    id = "rapl"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: list[_Counter] = []

    def probe(self) -> Sequence[Domain] | Unavailable:
        """Zones that can be read, and how often they are renewed (found out by looking for 60 to 250 ms)."""
        root = powercap_folder()
        zones = find_zones(root)
        if not zones:
            return explain_absence(root)
        try:
            counters = _open_readable(zones)
        except PermissionError:
            return explain_permission(root)
        except MeterLost as error:
            return Unavailable(reason=str(error), fix="see what that file holds; it should be a number of microjoules")
        try:
            return _probe_domains(counters) if counters else explain_absence(root)
        except MeterLost as error:
            return Unavailable(reason=str(error), fix="run joulemark doctor again")
        finally:
            _close_all(counters)

    def open(self, pid: int) -> None:  # noqa: ARG002 - the counters cover the whole machine
        """Start counting.

        Raises:
            MeterLost: What `probe` found cannot be read any more.
        """
        self.close()
        root = powercap_folder()
        try:
            self._counters = _open_readable(find_zones(root))
        except PermissionError:
            raise MeterLost(explain_permission(root).reason) from None
        if not self._counters:
            raise MeterLost(explain_absence(root).reason)

    def read(self) -> Reading:
        """Joules of every zone since `open`.

        Raises:
            MeterLost: A zone is gone, holds no number, or went backwards.
        """
        with self._lock:
            if not self._counters:
                raise MeterLost("rapl is not open")
            t0_ns, t1_ns, found_uj = _look_at(self._counters)
            for counter, value_uj in zip(self._counters, found_uj, strict=True):
                counter.advance(value_uj, t1_ns)
            values = {c.domain_id: c.total_uj / 1e6 for c in self._counters}
        return Reading(t0_ns=t0_ns, t1_ns=t1_ns, values=values)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            _close_all(self._counters)
            self._counters = []


def unwrap(last_uj: int, now_uj: int, modulus_uj: int | None) -> int:
    """Microjoules gained between two values of a counter that wrapped at most once in between.

    A difference modulo the counter's range: right for any gain below ``modulus_uj``, with or without a wrap. It is
    negative only for a counter that has no range and went backwards.
    """
    gained = now_uj - last_uj
    return gained if modulus_uj is None else gained % modulus_uj


def probe_update_s(look: Callable[[], tuple[int, Sequence[int]]]) -> float:
    """Seconds between renewals of some counters: the median over all. Where all stand still: the time watched.

    Args:
        look: Gives the moment in nanoseconds, and what each counter shows then.
    """
    began_ns = time.monotonic_ns()
    _, last = look()
    changes_ns: list[list[int]] = [[] for _ in last]
    while not _seen_enough(changes_ns, elapsed_s := (time.monotonic_ns() - began_ns) / 1e9):
        time.sleep(0.0002)
        now_ns, found = look()
        for changes, before, now in zip(changes_ns, last, found, strict=True):
            if now != before:
                changes.append(now_ns)
        last = found
    gaps = sorted((b - a) / 1e9 for changes in changes_ns for a, b in itertools.pairwise(changes))
    return gaps[len(gaps) // 2] if gaps else elapsed_s


class _Empty(Exception):
    """The file held nothing: whoever writes it has just truncated it."""


class _Counter:
    """One zone's counter file, kept open (a read takes 1-5 us, against 60 us with opening), and its running total."""

    def __init__(self, zone: Zone) -> None:
        """Raises OSError where the file cannot be read, and MeterLost where it holds no number."""
        self.zone = zone
        self.domain_id = f"rapl:{zone.name}"
        self._path = str(zone.energy_file)
        self._fd = os.open(self._path, os.O_RDONLY)
        self.total_uj = 0
        self._text, self._uj, self._changed_ns = b"", 0, 0
        try:
            self._file = _identity(os.fstat(self._fd))
            os.pread(self._fd, _LONGEST, 0)
            _, self._last_ns, (self._last_uj,) = _look_at([self])
        except BaseException:
            self.close()
            raise

    def look(self, now_ns: int) -> int:
        """The counter as it stands, in microjoules; raises `_Empty` or MeterLost."""
        try:
            text = os.pread(self._fd, _LONGEST, 0)
            if text == self._text:
                if now_ns - self._changed_ns < _SAME_FOR_NS:
                    return self._uj
                # A zone that went away can still be readable through the open file, at its last value for ever.
                if _identity(os.stat(self._path)) != self._file:  # noqa: PTH116 - quicker than Path
                    self._reopen()
                    text = os.pread(self._fd, _LONGEST, 0)
        except OSError as error:
            raise MeterLost(f"zone {self._where} is gone ({error.strerror}); see joulemark doctor") from error
        self._uj = self._parse(text)
        self._text, self._changed_ns = text, now_ns
        return self._uj

    def advance(self, now_uj: int, now_ns: int) -> None:
        """Add what was gained since the last look, unless it cannot be true.

        A counter that fell looks like one that wrapped; but then it would have gained nearly its whole range. So a
        gain beyond `MOST_PLAUSIBLE_W` (and a second's worth more, since counters are renewed in steps) is refused.
        """
        if now_uj == self._last_uj:
            self._last_ns = now_ns
            return
        gained_uj = unwrap(self._last_uj, now_uj, self.zone.modulus_uj)
        possible_uj = MOST_PLAUSIBLE_W * ((now_ns - self._last_ns) / 1e9 + 1.0) * 1e6
        if gained_uj < 0 or gained_uj > possible_uj:
            how = "went backwards" if now_uj < self._last_uj else "leapt"
            raise MeterLost(f"zone {self._where} {how}: {self._last_uj} to {now_uj} uJ, more than any CPU could use")
        if self.zone.modulus_uj is not None and now_uj >= self.zone.modulus_uj:
            raise MeterLost(f"zone {self._where} gave {now_uj} uJ, above its own max_energy_range_uj")
        self.total_uj += gained_uj
        self._last_uj, self._last_ns = now_uj, now_ns

    def close(self) -> None:
        os.close(self._fd)

    def _parse(self, text: bytes) -> int:
        # What follows the first line end is left over from a longer number.
        line = text.partition(b"\n")[0].strip()
        if not line:
            raise _Empty(self._where)
        if not line.isdigit():
            raise MeterLost(f"zone {self._where} gave {line!r} instead of microjoules")
        return int(line)

    @property
    def _where(self) -> str:
        return f"{self.zone.name} ({self._path})"

    def _reopen(self) -> None:
        fresh = os.open(self._path, os.O_RDONLY)
        os.close(self._fd)
        self._fd = fresh
        self._file = _identity(os.fstat(fresh))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _look_at(counters: Sequence[_Counter]) -> tuple[int, int, list[int]]:
    """One look at all counters: clock before and after in nanoseconds, and their microjoules.

    Begins anew where a file was empty, so that all values belong to one moment.
    """
    began_ns = t0_ns = time.monotonic_ns()
    while True:
        try:
            found = [counter.look(t0_ns) for counter in counters]
        except _Empty as error:
            if t0_ns - began_ns > _EMPTY_FOR_AT_MOST_S * 1e9:
                raise MeterLost(f"zone {error} is empty") from None
            time.sleep(0.0005)
            t0_ns = time.monotonic_ns()
        else:
            return t0_ns, time.monotonic_ns(), found


def _open_readable(zones: Sequence[Zone]) -> list[_Counter]:
    """Counters of the zones that work. Some drivers list zones that this CPU lacks; reading those is an error.

    Raises:
        PermissionError: One may not be read.
        MeterLost: One holds something that is no number.
    """
    counters: list[_Counter] = []
    try:
        for zone in zones:
            try:
                counters.append(_Counter(zone))
            except PermissionError:
                raise
            except OSError:
                continue
    except BaseException:
        _close_all(counters)
        raise
    return counters


def _close_all(counters: Sequence[_Counter]) -> None:
    for counter in counters:
        counter.close()


def _probe_domains(counters: Sequence[_Counter]) -> list[Domain]:
    first = _look_at(counters)[2]
    watched = [c for c in counters if c.zone.summed] or list(counters)
    update_s = probe_update_s(lambda: _look_at(watched)[1:])
    last = _look_at(counters)[2]
    mirrors = _find_mirrors([c.zone for c in counters], first) & _find_mirrors([c.zone for c in counters], last)
    return [_domain(c.zone, update_s, mirrored=c.zone.name in mirrors) for c in counters]


def _domain(zone: Zone, update_s: float, *, mirrored: bool) -> Domain:
    rel_u = REL_U_DRAM if zone.kind == "dram" else REL_U_PACKAGE
    return Domain(
        id=f"rapl:{zone.name}",
        kind=zone.kind,
        grade="counter",
        resolution_j=_resolution_uj(zone) / 1e6,
        update_s=update_s,
        range_j=zone.modulus_uj / 1e6 if zone.modulus_uj else None,
        rel_u_scale=rel_u,
        rel_u_workload=0.0,
        source=REL_U_SOURCE.format(rel_u),
        provenance=f"{zone.energy_file}{', mirrors another die' if mirrored else ''}",
        summed=zone.summed and not mirrored,
    )


def _resolution_uj(zone: Zone) -> float:
    """The counter's energy unit: its range is 2**32 of them (Linux, drivers/powercap/intel_rapl_common.c)."""
    return max(1.0, (zone.modulus_uj or 0) / 2**32)


def _seen_enough(changes_ns: Sequence[Sequence[int]], elapsed_s: float) -> bool:
    """Whether every counter was renewed often enough to tell, or some was after `_POLL_S`, or time is up."""
    if elapsed_s < _POLL_S:
        return all(len(changes) > 20 for changes in changes_ns)
    return elapsed_s >= _POLL_AT_MOST_S or any(len(changes) >= 3 for changes in changes_ns)


def _find_mirrors(zones: Sequence[Zone], values_uj: Sequence[int]) -> set[str]:
    """Dies that show the same counter as another die of their package.

    Some AMD CPUs list one zone a die, all showing the package's one counter; adding them would multiply the joules
    by the number of dies (https://github.com/mlco2/codecarbon/issues/1274). Two counters of their own would not
    agree within a joule twice in a row. A counter at 0 tells nothing.
    """
    seen: dict[str, list[int]] = {}
    mirrors: set[str] = set()
    for zone, value in zip(zones, values_uj, strict=True):
        die = re.fullmatch(r"(package-\d+)-die-\d+", zone.name)
        if die is None or value == 0:
            continue
        others = seen.setdefault(die.group(1), [])
        if any(abs(value - other) <= _MIRROR_WITHIN_UJ for other in others):
            mirrors.add(zone.name)
        others.append(value)
    return mirrors
