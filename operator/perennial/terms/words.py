"""The words of the field that all parts share: slots, verdicts, roles, types of columns."""

from enum import StrEnum
from typing import Literal

Slot = Literal["a", "b"]


class Verdict(StrEnum):
    """What the evidence says. Only Pass passes and only Fail fails; the other three hold."""

    PASS = "Pass"  # noqa: S105 - a verdict, no secret
    FAIL = "Fail"
    UNDECIDED = "Undecided"
    NO_DATA = "NoData"
    ERROR = "Error"


class Role(StrEnum):
    """Whether an SLO decides (Critical), is shown (Advisory), or is only tried out (DryRun)."""

    CRITICAL = "Critical"
    ADVISORY = "Advisory"
    DRY_RUN = "DryRun"


class ColumnType(StrEnum):
    """What a column holds."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"
    TIMESTAMP = "Timestamp"
