"""The one shape of what was found: by a gate, on a canary, on the stable version, in a Dataset's data."""

from typing import Annotated

from pydantic import Field

from perennial.terms.forms import Decimal
from perennial.terms.part import Part
from perennial.terms.words import Verdict


class Evidence(Part):
    """Natural logarithms of e-values, and what decides: an e-value of 1/alpha or more is shown, whenever one looks."""

    harm: Annotated[Decimal | None, Field(description="ln of the e-value for harm.")] = None
    harm_threshold: Annotated[Decimal | None, Field(description="From here on harm is shown.")] = None
    safe: Annotated[Decimal | None, Field(description="ln of the e-value for safety.")] = None
    safe_threshold: Annotated[Decimal | None, Field(description="From here on safety is shown.")] = None


class Finding(Part):
    """A verdict with what it rests on, how sure it is, and how much more data would decide."""

    name: Annotated[str, Field(max_length=256, description="The promise, metric or expectation.")]
    verdict: Annotated[Verdict, Field(description="Pass, Fail, Undecided, NoData or Error.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word.")] = ""
    message: Annotated[str, Field(max_length=512, description="Why, and what to do.")] = ""
    value: Annotated[Decimal | None, Field(description="What was measured.")] = None
    low: Annotated[Decimal | None, Field(description="Lower bound of it (of the difference, if compared).")] = None
    high: Annotated[Decimal | None, Field(description="Upper bound of it.")] = None
    baseline: Annotated[Decimal | None, Field(description="The same of what it is compared with.")] = None
    samples: Annotated[int | None, Field(ge=0, description="Requests, rows or labels that it rests on.")] = None
    needed: Annotated[int | None, Field(ge=0, description="About how many more decide.")] = None
    eta_seconds: Annotated[int | None, Field(ge=0, description="About how long that takes.")] = None
    evidence: Annotated[Evidence | None, Field(description="Where the verdict may be looked at at any time.")] = None
