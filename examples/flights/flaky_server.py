"""A model server of one's own, with a bug: it fails 15 % of its requests.

It reads the model from $MODEL_DIR, answers MLflow's /invocations on $PORT, and the health checks of the Open Inference
Protocol: all that a server must do. Which requests fail follows from $SEED and their order.
"""

import os
import random

import mlflow
import pandas as pd
from aiohttp import web

FAILING_SHARE = 0.15
MODEL = web.AppKey("model", object)
CHANCE = web.AppKey("chance", random.Random)


async def health(_request: web.Request) -> web.Response:
    return web.json_response({})


async def invocations(request: web.Request) -> web.Response:
    body = await request.json()
    if request.app[CHANCE].random() < FAILING_SHARE:
        return web.json_response({"error": "a bug"}, status=500)
    rows = pd.DataFrame(body["dataframe_records"]).astype(float)
    model = request.app[MODEL]
    return web.json_response({"predictions": model.predict(rows[model.feature_name()], num_threads=1).tolist()})


def app(model_dir: str, seed: int) -> web.Application:
    """Return the application; loading the model takes seconds, so it happens before the first health check passes."""
    made = web.Application()
    made[MODEL] = mlflow.lightgbm.load_model(model_dir)
    made[CHANCE] = random.Random(seed)
    made.add_routes(
        [
            web.get("/v2/health/live", health),
            web.get("/v2/health/ready", health),
            web.post("/invocations", invocations),
        ]
    )
    return made


def main() -> None:
    made = app(os.environ["MODEL_DIR"], int(os.environ.get("SEED", "0")))
    web.run_app(made, port=int(os.environ["PORT"]), print=None, access_log=None)


if __name__ == "__main__":
    main()
