"""Keys and certificates of one cluster, made with the openssl program (ECDSA P-256, valid for ten years)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.process import run

_DAYS = "3650"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory, one file a key and a certificate."""

    directory: Path
    name: str = "ca"

    @property
    def pair(self) -> Pair:
        """The authority's own certificate and key."""
        return _pair(self.directory, self.name)

    @property
    def certificate(self) -> Path:
        """What clients must trust."""
        return self.pair.certificate

    def create(self) -> None:
        """Make the authority, unless it is there."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.certificate.exists():
            return
        extensions = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]
        _request(self.pair, f"/CN={self.name}", ["-x509", *extensions])

    def issue(self, name: str, *, user: str, group: str | None = None, hosts: Sequence[str] = ()) -> Pair:
        """Return a certificate signed by this authority, made when it is not there.

        Args:
            name: The name of its files.
            user: The common name: whom Kubernetes takes the bearer for.
            group: The organisation: the Kubernetes group.
            hosts: ``DNS:name`` and ``IP:address`` entries; with any, the certificate serves for servers too.
        """
        pair = _pair(self.directory, name)
        if pair.certificate.exists():
            return pair
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        usage = "clientAuth,serverAuth" if hosts else "clientAuth"
        options = ["-x509", "-CA", str(self.certificate), "-CAkey", str(self.pair.key)]
        options += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"extendedKeyUsage={usage}"]
        if hosts:
            options += ["-addext", f"subjectAltName={','.join(hosts)}"]
        _request(pair, subject, options)
        return pair


def signing_pair(directory: Path, name: str) -> Pair:
    """Return a private key and its public key, for signing service-account tokens; made when it is not there."""
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    if not public.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        because = f"Making the key {private}"
        run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], because=because)
        run(["openssl", "ec", "-in", private, "-pubout", "-out", public], because=because)
        private.chmod(0o600)
    return Pair(certificate=public, key=private)


def _pair(directory: Path, name: str) -> Pair:
    return Pair(certificate=directory / f"{name}.crt", key=directory / f"{name}.key")


def _request(pair: Pair, subject: str, options: Sequence[str]) -> None:
    # The certificate is written under another name first: a kill in between must not leave half a pair behind.
    unfinished = pair.certificate.with_suffix(".part")
    common = ["-subj", subject, "-days", _DAYS, "-sha256", "-keyout", str(pair.key), "-out", str(unfinished)]
    run(["openssl", "req", *_NEW_KEY, *options, *common], because=f"Making the certificate {pair.certificate}")
    pair.key.chmod(0o600)
    unfinished.rename(pair.certificate)
