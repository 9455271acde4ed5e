"""One prediction's whole way: client, router, real model server, real collector, label, cohort."""

import os
import sys
from pathlib import Path

import aiohttp
import pytest
from loopback import CollectorProcess, Model, Program, Router, eventually, policy

from perennial.api.messages.policy import Monitoring, SloPolicy
from perennial.families.metrics.false_negative_rate import FalseNegativeRate
from perennial.families.slos import Outcome

# MLflow warns of its own insides, already when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")

SOURCE = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Echo(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["score"]

set_model(Echo())
"""
MISSED = SloPolicy(name="missed", outcome=Outcome(false_negative_rate=FalseNegativeRate(), max="0.3", min_samples=1))


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that answers what it is asked with."""
    import mlflow.pyfunc

    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(SOURCE)
    mlflow.pyfunc.save_model(str(folder / "model"), python_model=str(folder / "echo.py"), pip_requirements=[])
    return folder / "model"


async def test_a_prediction_is_served_reported_and_labelled(
    echo: Path, tmp_path: Path, session: aiohttp.ClientSession, collector: CollectorProcess
) -> None:
    slot = Model()  # only its port: the real server listens there
    router = Router("router-1", tmp_path, {"a": slot, "b": Model()}, collector)
    await collector.start(router)
    await collector.put(policy(None, MISSED, monitoring=Monitoring(cohort_seconds=3600, max_label_delay_seconds=60)))
    environment = {
        "MODEL_DIR": str(echo),
        "MODEL_NAME": "echo",
        "MODEL_VERSION": "7",
        "PERENNIAL_VERSION": "v-old",
        "PERENNIAL_COLLECTOR": collector.url,
        "PERENNIAL_COLLECTOR_TOKEN": str(router.token),  # a pod of the same namespace
        "PERENNIAL_DRAIN_SECONDS": "0",
        "HOST": "127.0.0.1",
        "PORT": str(slot.port),
        "PYTHONPATH": str(Path(__file__).parents[2] / "operator"),
    }
    server = Program([sys.executable, "-m", "perennial.server"], tmp_path / "server.log", {**os.environ, **environment})
    await server.start()
    try:
        await router.start()

        async def ready() -> bool:
            async with session.get(f"{router.url}/v2/health/ready") as response:
                return response.status == 200

        await eventually(ready, "the server is ready", patience=120)
        body = {"dataframe_split": {"columns": ["score"], "data": [[0.9], [0.2], [0.1]]}}
        async with session.post(
            f"{router.url}/invocations", json=body, headers={"x-prediction-id": "order-1"}
        ) as response:
            assert response.headers["x-perennial-prediction-id"] == "order-1"
            assert response.headers["x-perennial-version-slot"] == "a"
            assert await response.json() == {"predictions": [0.9, 0.2, 0.1]}
        labels = [{"id": f"order-1:{row}", "label": truth} for row, truth in enumerate([1, 1, 0])]
        await collector.post("/v1/labels", {"labels": labels})
        state = await collector.until(lambda s: s.labels.joined == 3, "the labels are joined")
        (cohort,) = state.cohorts
        assert (cohort.version, cohort.model_version, cohort.predictions) == ("v-old", "7", 3)
        assert (cohort.outcomes[0].total, cohort.outcomes[0].bad) == (2, 1)
    finally:
        await router.stop()
        await server.stop()
