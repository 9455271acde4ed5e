"""Who the programs are to each other. Here the test is the cluster: it signs the tokens, and says whom to believe."""

from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from perennial.api.messages.trust import Trust

AUDIENCE: Final = "perennial.dev/default/model"
OPERATOR: Final = "system:serviceaccount:perennial-system:perennial"
NEIGHBOUR: Final = "system:serviceaccount:default:default"
STRANGER: Final = "system:serviceaccount:elsewhere:default"
ISSUER: Final = "https://issuer.test"


@dataclass
class Key:
    """A key pair of a cluster's. RSA keys, which Kubernetes makes, take a while to be made."""

    name: str = "key-1"
    private: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def rsa(cls, name: str) -> "Key":
        return cls(name, rsa.generate_private_key(65537, 2048))

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    def public(self) -> dict[str, str]:
        """Return the public half as a JWKS has it."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        parts = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        known = {name: value for name, value in parts.items() if isinstance(value, str)}
        return {**known, "kid": self.name, "alg": self.algorithm}

    def sign(self, claims: dict[str, Any], **header: str) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.name, **header})

    def token(self, user: str = NEIGHBOUR, **claims: Any) -> str:
        """Return a token like those of the API server; `claims` replace some of its own, None takes one away."""
        now = int(time())
        usual = {"aud": [AUDIENCE], "exp": now + 3600, "iat": now, "nbf": now, "iss": ISSUER, "sub": user}
        return self.sign({name: value for name, value in {**usual, **claims}.items() if value is not None})


def trust(*keys: Key, **changes: Any) -> Trust:
    """Return whom the collector of `default/model` believes."""
    usual = {"issuer": ISSUER, "audience": AUDIENCE, "operator": OPERATOR, "namespace": "default"}
    return Trust.model_validate({**usual, "keys": [key.public() for key in keys], **changes})


class Accounts:
    """Tokens for the programs of one ModelDeployment, and the file by which its collector tells them apart."""

    operator = OPERATOR
    neighbour = NEIGHBOUR

    def __init__(self, directory: Path) -> None:
        self.trust = directory / "trust.json"
        self.key = Key()
        self.believe(trust(self.key))

    def believe(self, whom: Trust) -> None:
        self.trust.write_text(whom.model_dump_json())

    def token(self, user: str) -> str:
        return self.key.token(user)
