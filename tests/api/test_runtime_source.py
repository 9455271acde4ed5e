"""What is done on kopf's way to a real API server: its lists are emptied, its watches listened to."""

import pytest
from widgets import WIDGET, widget

from cluster.apiserver import ControlPlane
from perennial.runtime.clock import SystemClock
from perennial.runtime.connection import Connection
from perennial.runtime.source import _Sessions
from perennial.runtime.watches import Scope, Watches

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


async def test_a_list_of_kopfs_brings_a_version_and_nothing_else_and_a_watch_from_there_is_heard_to_its_end(
    connection: Connection, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope(WIDGET, namespace)
    control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "before", parts=1))
    watches, gaps = Watches((WIDGET,), (namespace,), SystemClock()), list[tuple[Scope, int]]()
    sessions = _Sessions(connection, {WIDGET.path(namespace): scope}, watches, lambda *gap: gaps.append(gap))
    session, url = sessions.open(), connection.server + WIDGET.path(namespace)
    try:
        async with session.get(url) as response:
            listed = await response.json()
        assert listed["items"] == []
        begun = [(scope, int(listed["metadata"]["resourceVersion"]))]
        assert gaps == begun
        control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "after", parts=1))
        monkeypatch.setattr("perennial.runtime.source.WATCH_SECONDS", 2)
        query = {"watch": "true"}
        query["resourceVersion"] = listed["metadata"]["resourceVersion"]
        async with session.get(url, params=query) as response:
            told = b"".join([chunk async for chunk in response.content.iter_chunked(2**20)])
        assert b'"name":"after"' in told
        assert b'"name":"before"' not in told
        assert watches.silent_seconds(scope) < 1, "the orderly end of a watch is a sign of life"
        assert gaps == begun, "a watch that goes on from a version has no gap"
    finally:
        await sessions.close()
