"""Every reason that a condition, a finding, an Event or a decision may have: its name, its meaning, what to do.

The documentation's tables and the plugin's advice are generated from this list, so a reason that is not here can't be
given, and one that is here is explained.
"""

from typing import Self


class Reason(str):  # noqa: SLOT000 - few, and they have attributes
    """A CamelCase word with its meaning and, where people can do something, what."""

    meaning: str
    remedy: str

    def __new__(cls, name: str, meaning: str, remedy: str = "") -> Self:
        """Make the word; `meaning` and `remedy` are sentences without a subject that only code knows."""
        self = super().__new__(cls, name)
        self.meaning, self.remedy = meaning, remedy
        return self
