"""The model server: loads an MLflow model, answers the Open Inference Protocol and `/invocations`, reports.

    protocols (JSON ↔ columns) ─▶ models (columns ─▶ scores) ─▶ reporter (to the collector, in the background)

`perennial.models` is also how a candidate is evaluated before it may serve: what is judged is what serves.
"""
