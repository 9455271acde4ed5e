"""The routers' statistics ports: what each Envoy has counted since it began, and which pods it sends requests to."""

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from typing import get_args
from urllib.parse import quote

import aiohttp

from perennial.collector.pods import Listed, parse_pods
from perennial.collector.signals import READERS, Page, Reading
from perennial.terms.words import Slot

_STATISTICS = tuple(sorted({name for reader in READERS for name in reader.statistics}))
FILTER = rf"^(cluster\.(a|b)\.({'|'.join(_STATISTICS)})|server\.uptime)$"
_VALUE = re.compile(
    r"^envoy_cluster_(?P<name>\w+)\{"
    r'(?=[^}]*envoy_cluster_name="(?P<slot>[ab])")(?:[^}]*envoy_response_code_class="(?P<digit>[1-5])")?'
    r"[^}]*\} (?P<n>\d{1,15})$",
    re.MULTILINE,
)
_UPTIME = re.compile(r"^envoy_server_uptime(?:\{\})? (\d{1,15})$", re.MULTILINE)


def parse(text: str) -> Reading:
    """Read Envoy's Prometheus text. Raises ValueError if the uptime is missing."""
    uptime = _UPTIME.search(text)
    if uptime is None:
        raise ValueError("the router's statistics do not tell its uptime")
    values: dict[tuple[Slot, str], int] = {}
    for found in _VALUE.finditer(text):
        name = found["name"] if found["digit"] is None else found["name"].replace("_xx", f"_{found['digit']}xx")
        values["a" if found["slot"] == "a" else "b", name] = int(found["n"])
    page = Page(values)
    counters = {
        (signal, slot, group): sums
        for reader in READERS
        for slot in get_args(Slot)
        for (signal, group), sums in reader.read(page, slot).items()
    }
    return Reading(float(uptime[1]), counters)


class Routers:
    """The routers behind names (a headless Service's, as a rule one), looked up anew for each look."""

    def __init__(self, names: Sequence[tuple[str, int]], session: aiohttp.ClientSession, patience: float = 0.7) -> None:
        self._found: dict[tuple[str, int], tuple[str, ...]] = dict.fromkeys(names, ())
        self._session = session
        self._patience = patience
        self.addresses: tuple[str, ...] = ()
        self.errors = 0

    async def look(self) -> Mapping[str, Reading]:
        """Return the counters of every router that answered in time, by its address."""
        found = await asyncio.gather(*(self._resolve(name) for name in self._found))
        self._found = dict(zip(self._found, found, strict=True))
        self.addresses = tuple(sorted({address for addresses in found for address in addresses}))
        readings = await asyncio.gather(*(self._scrape(address) for address in self.addresses))
        return {a: r for a, r in zip(self.addresses, readings, strict=True) if r is not None}

    async def pods(self) -> Mapping[str, Listed | None]:
        """Return the pods that each router sends requests to, by its address; None for one that did not answer."""
        texts = await asyncio.gather(*(self._get(f"http://{address}/clusters") for address in self.addresses))
        return {a: None if t is None else parse_pods(t) for a, t in zip(self.addresses, texts, strict=True)}

    async def _resolve(self, name: tuple[str, int]) -> tuple[str, ...]:
        lookup = asyncio.get_running_loop().getaddrinfo(*name, family=socket.AF_INET, type=socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(self._patience):
                found = await lookup
        except TimeoutError:
            return self._found[name]
        except socket.gaierror as error:
            # No such name: a headless Service without a ready pod. Anything else is the DNS's trouble, not an answer.
            return () if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA} else self._found[name]
        return tuple(f"{address!s}:{name[1]}" for *_, (address, *_) in found)

    async def _scrape(self, address: str) -> Reading | None:
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
                return await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError):
            self.errors += 1
            return None
