"""Events as a real API server keeps them."""

import pytest
from widgets import WIDGET, widget

from cluster.apiserver import ControlPlane
from perennial.plan.actions import Emit
from perennial.runtime.client import Client
from perennial.runtime.clock import SystemClock
from perennial.runtime.events import EventRecorder

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("widgets")]


async def test_what_is_said_again_by_the_next_process_is_one_event_with_a_series(
    client: Client, control_plane: ControlPlane, namespace: str
) -> None:
    regarding = control_plane.api.call("POST", WIDGET.path(namespace), widget(namespace, "w", parts=1))
    for instance in ("one", "two", "three"):
        recorder = EventRecorder(client, SystemClock(), instance=instance)
        await recorder.emit(regarding, Emit(type="Warning", reason="Broken", message="it is broken"))
        await recorder.emit(regarding, Emit(type="Warning", reason="Broken", message="it is broken"))
    (event,) = control_plane.api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "Broken", "it is broken")
    assert (event["regarding"]["kind"], event["regarding"]["uid"]) == ("Widget", regarding["metadata"]["uid"])
    assert event["series"]["count"] == 3, "one for each process: repetitions within minutes are not written"
    assert event["series"]["lastObservedTime"] >= event["eventTime"]
