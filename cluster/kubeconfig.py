"""Kubeconfig files. They are written as JSON, which is YAML too, because the standard library writes no YAML."""

import base64
import json
import os
from pathlib import Path
from typing import Any

from cluster.pki import Pair


def write_for_certificate(path: Path, *, server: str, authority: Path, pair: Pair, name: str = "perennial") -> Path:
    """Write a kubeconfig for the bearer of a client certificate, all of it inline.

    Args:
        path: The file to write; readable by its owner only.
        server: The API server's URL.
        authority: The certificate that the server's own must be signed by.
        pair: The client's certificate and key.
        name: The name of the cluster, the user and the context.
    """
    user = {"client-certificate-data": _inline(pair.certificate), "client-key-data": _inline(pair.key)}
    return _write(path, server, authority, user, name)


def write_for_token(path: Path, *, server: str, authority: Path, token: str, name: str = "perennial") -> Path:
    """Write a kubeconfig for the bearer of a token, for example a service account's."""
    return _write(path, server, authority, {"token": token}, name)


def _write(path: Path, server: str, authority: Path, user: dict[str, str], name: str) -> Path:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _inline(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    unfinished.rename(path)
    return path


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
