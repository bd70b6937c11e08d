"""Metering plugs, as they answer over the local network: for `loopback.Loopback` to speak as."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import Any

from loopback import Asked, Drawn, Reply, said

__all__ = ["ShellyPlug", "TasmotaPlug"]


class ShellyPlug:
    """A Shelly Plus Plug S, in the format of its documents (Gen2 device API, component Switch)."""

    def __init__(self, drawn: Drawn, *, component: str = "Switch", password: str | None = None) -> None:
        self.drawn, self.component, self.password = drawn, component, password
        self.changed: dict[str, Any] = {}
        self.stuck = False
        self.gen = 2
        self._frozen_wh = drawn.counted_j() / 3600
        self._nonces = itertools.count(1625038762)

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/shelly":
            return self._about()
        if self.password is not None and not self._is_let_in(asked):
            realm, nonce = "shellyplusplugs-d4d4da7d2e54", next(self._nonces)
            challenge = f'Digest qop="auth", realm="{realm}", nonce="{nonce}", algorithm=SHA-256'
            return Reply(b"", 401, {"WWW-Authenticate": challenge})
        if asked.path != f"/rpc/{self.component}.GetStatus":
            return said({"code": 404, "message": f"No handler for {asked.path.removeprefix('/rpc/')}"}, 404)
        if asked.query.get("id") != "0":
            return said({"code": -105, "message": f"Argument 'id', value {asked.query.get('id')} not found!"}, 500)
        return Reply(json.dumps(self._status() | self.changed).encode())

    def _about(self) -> Reply:
        if self.gen == 1:
            return said({"type": "SHPLG-S", "mac": "40F52001A5B8", "auth": False, "fw": "20230913-113421/v1.14.0"})
        about = {
            "name": None, "id": "shellyplusplugs-d4d4da7d2e54", "mac": "D4D4DA7D2E54", "slot": 1,
            "model": "SNPL-00112EU", "gen": self.gen, "fw_id": "20231219-133953/1.1.0-g34b5d4f", "ver": "1.1.0",
            "app": "PlusPlugS", "auth_en": self.password is not None, "auth_domain": None,
        }  # fmt: skip
        return said(about)

    def _status(self) -> dict[str, Any]:
        watts = self.drawn.watts()
        total_wh = self._frozen_wh if self.stuck else self.drawn.counted_j() / 3600
        return {
            "id": 0, "source": "init", "output": True, "apower": round(watts, 1), "voltage": 237.5,
            "current": round(watts / 237.5, 3),
            "aenergy": {"total": round(total_wh, 3), "by_minute": [1656.1, 1653.5, 1651.9], "minute_ts": 1626935779},
            "temperature": {"tC": 53.3, "tF": 127.9},
        }  # fmt: skip

    def _is_let_in(self, asked: Asked) -> bool:
        """As RFC 7616 has it, worked out here by other means than in the meter."""
        header = asked.headers.get("authorization", "")
        parts = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', header)}
        if parts.get("algorithm") != "SHA-256" or parts.get("uri", "").partition("?")[0] != asked.path:
            return False
        ha1 = hashlib.sha256(f"{parts['username']}:{parts['realm']}:{self.password}".encode()).hexdigest()
        ha2 = hashlib.sha256(f"GET:{parts['uri']}".encode()).hexdigest()
        text = f"{ha1}:{parts['nonce']}:{parts['nc']}:{parts['cnonce']}:{parts['qop']}:{ha2}"
        return parts["response"] == hashlib.sha256(text.encode()).hexdigest()


class TasmotaPlug:
    """A plug with Tasmota 13, in the format of ``Status 8`` (tasmota.github.io/docs/JSON-Status-Responses)."""

    def __init__(self, drawn: Drawn, *, watt_decimals: int = 0, password: str | None = None) -> None:
        self.drawn, self.watt_decimals, self.password = drawn, watt_decimals, password
        self.changed: dict[str, Any] = {}
        self.time = "2024-03-31T01:59:58"
        self.total_kwh: float | None = None

    def __call__(self, asked: Asked) -> Reply:
        if self.password is not None and asked.query.get("password") != self.password:
            return said({"WARNING": "Need user=<username>&password=<password>"}, 401)
        match asked.query.get("cmnd"):
            case "Status 8":
                energy = self._energy() | self.changed
                return said({"StatusSNS": {"Time": self.time, "ENERGY": energy}})
            case "Status 2":
                return said({"StatusFWR": {"Version": "13.1.0.2(tasmota)", "Hardware": "ESP8266EX"}})
            case "Status":
                return said({"Status": {"Module": 43, "DeviceName": "Desk", "FriendlyName": ["Desk"], "Power": 1}})
        return said({"Command": "Unknown"})

    def _energy(self) -> dict[str, Any]:
        watts = self.drawn.watts()
        total_kwh = self.drawn.counted_j() / 3.6e6 if self.total_kwh is None else self.total_kwh
        return {
            "TotalStartTime": "2022-08-19T11:52:13", "Total": round(total_kwh, 3), "Yesterday": 0.0, "Today": 6.04,
            "Power": round(watts, self.watt_decimals) if self.watt_decimals else round(watts), "ApparentPower": 26,
            "ReactivePower": 18, "Factor": 0.74, "Voltage": 234, "Current": round(watts / 234, 3),
        }  # fmt: skip
