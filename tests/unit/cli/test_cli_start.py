"""How the plugin starts."""

import subprocess
import sys

HEAVY = {"aiohttp", "kopf", "kubernetes", "mlflow", "numpy", "pydantic", "yaml"}


def test_nothing_heavy_is_imported_at_start() -> None:
    """What keeps the start below half a second: no models, no clients, no YAML."""
    code = "import sys, perennial.cli.__main__; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert "perennial" in imported
    assert not HEAVY & imported
