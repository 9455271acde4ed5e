"""Requests that the routers have answered, per slot, from the counters each Envoy shows on its statistics port.

The total is derived from the classes of the responses, because a scrape is no atomic snapshot. Bad are the 5xx, among
them Envoy's own: timeouts (504), refused and lost connections (503). Counters become deltas here; a router that started
again counts from 0.
"""

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import aiohttp

from perennial.terms.words import Slot

FILTER = r"^(cluster\.(a|b)\.upstream_rq_[1-5]xx|server\.uptime)$"
_CLASS = re.compile(
    r"^envoy_cluster_upstream_rq_xx\{"
    r'(?=[^}]*envoy_cluster_name="(?P<slot>[ab])")(?=[^}]*envoy_response_code_class="(?P<digit>[1-5])")'
    r"[^}]*\} (?P<n>\d+)",
    re.MULTILINE,
)
_UPTIME = re.compile(r"^envoy_server_uptime(?:\{\})? (\d+)", re.MULTILINE)
_MEMBER = re.compile(r"^(?P<slot>[ab])::(?P<address>[\d.]+):\d+::health_flags::healthy$", re.MULTILINE)
_FINAL = "2345"
"""Classes of final responses. A 1xx comes before another one."""
KEEP_BASELINES = 64
"""More addresses than these are mostly of routers that are long gone."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests answered by one slot, and how many of them were bad."""

    total: int = 0
    bad: int = 0

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(self.total + other.total, self.bad + other.bad)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of one router since it started, `uptime` seconds ago."""

    uptime: int
    a: Requests = Requests()
    b: Requests = Requests()

    def since(self, before: Self) -> "Snapshot":
        """Return what was counted after `before`, an earlier snapshot of the same address.

        A counter that went down tells of a restart. Uptime plays no part: Envoy reckons it by the wall clock, and
        one that is set would make a restart of nothing and count everything twice. What a life of fewer requests than
        the next one's first second leaves uncounted is little, and never counted twice.
        """
        went_down = (
            self.a.total < before.a.total
            or self.a.bad < before.a.bad
            or self.b.total < before.b.total
            or self.b.bad < before.b.bad
        )
        return self if went_down else Snapshot(self.uptime, _minus(self.a, before.a), _minus(self.b, before.b))


def _minus(after: Requests, before: Requests) -> Requests:
    return Requests(after.total - before.total, after.bad - before.bad)


def parse(text: str) -> Snapshot:
    """Read Envoy's Prometheus text. Raises ValueError if the uptime is missing."""
    uptime = _UPTIME.search(text)
    if uptime is None:
        raise ValueError("the router's statistics do not tell its uptime")
    slots = {"a": Requests(), "b": Requests()}
    for found in _CLASS.finditer(text):
        if found["digit"] in _FINAL:
            count = int(found["n"])
            slots[found["slot"]] += Requests(count, count if found["digit"] == "5" else 0)
    return Snapshot(int(uptime[1]), slots["a"], slots["b"])


def parse_members(text: str) -> tuple[tuple[Slot, tuple[str, ...]], ...]:
    """Read Envoy's list of clusters: each slot with the addresses of its members, sorted."""
    found: dict[Slot, list[str]] = {"a": [], "b": []}
    for member in _MEMBER.finditer(text):
        found["a" if member["slot"] == "a" else "b"].append(member["address"])
    return tuple((slot, tuple(sorted(addresses))) for slot, addresses in found.items())


@dataclass(frozen=True, slots=True)
class Counted:
    """What a look at the routers brought: the requests since the last look, and where to count from next time."""

    a: Requests
    b: Requests
    baselines: Mapping[str, Snapshot]
    changed: bool
    """Whether the baselines are worth writing down."""


def count(baselines: Mapping[str, Snapshot], seen: Mapping[str, Snapshot], elapsed: float) -> Counted:
    """Turn counters into what happened since the last look, which was `elapsed` seconds ago (0: there was none).

    A router without a baseline counts from 0 if it started since then; else its past belongs to nobody, and it only
    gets a baseline.
    """
    new = dict(baselines)
    if len(new) > KEEP_BASELINES:
        new = {address: snapshot for address, snapshot in new.items() if address in seen}
    a, b, changed = Requests(), Requests(), False
    for address, snapshot in sorted(seen.items()):
        before = baselines.get(address)
        if before is not None:
            delta = snapshot.since(before)
        elif snapshot.uptime < elapsed:
            delta = snapshot
        else:
            delta = Snapshot(snapshot.uptime)
        a, b = a + delta.a, b + delta.b
        if before is None or (before.a, before.b) != (snapshot.a, snapshot.b):
            new[address] = snapshot
            changed = True
    return Counted(a, b, new, changed)


class Routers:
    """The routers behind names (a headless Service's, as a rule one), looked up anew for each look."""

    def __init__(self, names: Sequence[tuple[str, int]], session: aiohttp.ClientSession, patience: float = 0.7) -> None:
        self._found: dict[tuple[str, int], tuple[str, ...]] = dict.fromkeys(names, ())
        self._session = session
        self._patience = patience
        self.addresses: tuple[str, ...] = ()
        self.errors = 0

    async def look(self) -> dict[str, Snapshot]:
        """Return the counters of every router that answered in time, by its address."""
        found = await asyncio.gather(*(self._resolve(name) for name in self._found))
        self._found = dict(zip(self._found, found, strict=True))
        self.addresses = tuple(sorted({address for addresses in found for address in addresses}))
        snapshots = await asyncio.gather(*(self._scrape(address) for address in self.addresses))
        return {a: s for a, s in zip(self.addresses, snapshots, strict=True) if s is not None}

    async def members(self) -> Mapping[Slot, tuple[str, ...]] | None:
        """Return the addresses that every router has for each slot; None while they disagree or one does not answer.

        Envoy learns of pods by DNS, some seconds after they are ready, and of their end as late: a slot whose pods were
        just changed must not get requests before every router means the new ones.
        """
        texts = await asyncio.gather(*(self._get(f"http://{address}/clusters") for address in self.addresses))
        told = {None if text is None else parse_members(text) for text in texts}
        agreed = told.pop() if len(told) == 1 else None
        return None if agreed is None else dict(agreed)

    async def _resolve(self, name: tuple[str, int]) -> tuple[str, ...]:
        lookup = asyncio.get_running_loop().getaddrinfo(*name, family=socket.AF_INET, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.wait_for(lookup, self._patience)
        except TimeoutError:
            return self._found[name]
        except socket.gaierror as error:
            # No such name: a headless Service without a ready pod. Anything else is the DNS's trouble, not an answer.
            return () if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA} else self._found[name]
        return tuple(f"{address!s}:{name[1]}" for *_, (address, *_) in found)

    async def _scrape(self, address: str) -> Snapshot | None:
        text = await self._get(f"http://{address}/stats/prometheus?filter={quote(FILTER, safe='')}")
        try:
            return None if text is None else parse(text)
        except ValueError:
            self.errors += 1
            return None

    async def _get(self, url: str) -> str | None:
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=self._patience)) as response:
                response.raise_for_status()
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            self.errors += 1
            return None
