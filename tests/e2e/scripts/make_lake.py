"""Writes days of made-up parcels, one parquet file each: `python make_lake.py FOLDER FIRST LAST [--broken]`.

A parcel is late when distance + rain is large: learnable, with some chance in it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
for day in range(first, last + 1):
    rng = np.random.default_rng(day)
    rows = 400
    distance, rain = rng.uniform(0, 1, rows), rng.uniform(0, 1, rows)
    late = distance + rain + rng.normal(0, 0.1, rows) > 1.2
    sent = (
        pd.Timestamp("2026-01-01", tz="UTC")
        + pd.Timedelta(days=day)
        + pd.to_timedelta(rng.uniform(0, 86_000, rows), unit="s")
    )
    frame = pd.DataFrame({"sent": sent, "distance": distance, "rain": rain, "late": late})
    if "--broken" in sys.argv:
        frame["late"] = "perhaps"
    waiting = folder / f".day-{day:03}.parquet"
    frame.to_parquet(waiting)
    waiting.rename(folder / f"day-{day:03}.parquet")
print(len(list(folder.glob("*.parquet"))), "files")
