"""What a ModelDeployment may promise. `SLO` is the list: one more kind is one more file and one more line here."""

from typing import Annotated, get_args

from pydantic import Field

from perennial.families.objective import Counted, Judged, Objective
from perennial.families.slos.outcome import Outcome
from perennial.families.slos.requests import Requests
from perennial.terms.forms import PartName
from perennial.terms.part import OneOf, camel
from perennial.terms.words import Role

__all__ = ["SLO", "Counted", "Objective", "Outcome", "Requests", "critical_on_trial", "judging"]


class SLO(OneOf):
    """One promise."""

    name: Annotated[PartName, Field(description="What the SLO is called in status, events and triggers.")]
    role: Annotated[Role, Field(description="Critical decides, Advisory is shown, DryRun is only tried out.")] = (
        Role.CRITICAL
    )
    outcome: Annotated[Outcome | None, Field(description="A rate of wrong predictions; judges the stable version.")] = (
        None
    )
    requests: Annotated[Requests | None, Field(description="The share of requests that fail; judges canaries.")] = None

    def objective(self) -> Objective:
        """Return what is promised."""
        found = self.member()
        assert isinstance(found, Objective)
        return found

    def judges(self, where: Judged) -> bool:
        """Return whether the promise is judged there."""
        return where in self.objective().judges

    def decides(self, where: Judged) -> bool:
        """Return whether the promise is judged there, and counts."""
        return self.role is Role.CRITICAL and self.judges(where)


def judging(where: Judged) -> tuple[str, ...]:
    """Return the kinds of SLO, as users write them, that are judged there."""
    kinds = {camel(name): field for name, field in SLO.model_fields.items() if name in SLO.members}
    return tuple(name for name, field in kinds.items() if where in _objective_of(field.annotation).judges)


def critical_on_trial(slos: str) -> tuple[str, str]:
    """Return the rule that a list of SLOs has a Critical one that judges canaries, with its sentence."""
    kinds = judging("trial")
    kind = " || ".join(f"has(s.{name})" for name in kinds)
    return (
        f"self.{slos}.exists(s, ({kind}) && (!has(s.role) || s.role == 'Critical'))",
        f"{slos} needs a Critical SLO that judges canaries ({', '.join(kinds)}): nothing is promoted on no measurement",
    )


def _objective_of(annotation: object) -> type[Objective]:
    (found,) = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, Objective)]
    return found
