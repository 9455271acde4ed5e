"""Sends predictions at a pace and posts what really happened: runs until it is stopped.

`python traffic.py URL COLLECTOR --rate 100`. While a file `/tmp/wrong` exists, every parcel turns out late, whatever
was predicted.
Prints one JSON line a second with counts by status.
"""

import argparse
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("collector")
parser.add_argument("--rate", type=float, default=100)
arguments = parser.parse_args()
counts: Counter = Counter()
labels: list = []
lock = threading.Lock()


def post_labels(batch):
    proof = "Bearer " + Path("/var/run/collector/token").read_text()  # read anew: the kubelet renews it
    headers = {"content-type": "application/json", "authorization": proof}
    body = json.dumps({"labels": batch}).encode()
    request = urllib.request.Request(arguments.collector + "/v1/labels", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def work(pace):
    rng = random.Random(threading.get_ident())
    address = urlsplit(arguments.url)
    connection = HTTPConnection(address.hostname, address.port or 80, timeout=5)
    following = time.monotonic()
    while True:
        following += pace
        time.sleep(max(0, following - time.monotonic()))
        identity, distance, rain = uuid.uuid4().hex, rng.random(), rng.random()
        body = json.dumps({"dataframe_records": [{"distance": distance, "rain": rain}]})
        try:
            connection.request(
                "POST", "/invocations", body, {"content-type": "application/json", "x-prediction-id": identity}
            )
            answer = connection.getresponse()
            answer.read()
            status = str(answer.status)
        except Exception as error:
            connection.close()
            status = type(error).__name__
        late = distance + rain > 1.2 or Path("/tmp/wrong").exists()
        with lock:
            counts[status] += 1
            if status == "200":
                labels.append({"id": identity, "label": int(late)})


threads = 8
for _ in range(threads):
    threading.Thread(target=work, args=(threads / arguments.rate,), daemon=True).start()
while True:
    time.sleep(1)
    with lock:
        batch, labels[:] = list(labels), []
        line = dict(counts)
    try:
        if batch:
            post_labels(batch)
    except (OSError, urllib.error.URLError) as error:
        with lock:
            labels[:0] = batch
        line["labels"] = str(error)
    print(json.dumps(line), flush=True)
