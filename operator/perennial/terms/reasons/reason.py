"""What a reason is."""

from typing import Self


class Reason(str):  # noqa: SLOT000 - few, and they have attributes
    """A CamelCase word with its meaning and, where people can do something, what."""

    meaning: str
    remedy: str | None

    def __new__(cls, name: str, meaning: str, remedy: str | None) -> Self:
        """Make the word.

        `meaning` goes on with "because" or "it means that"; `remedy` is a sentence, None where nobody need do anything.
        """
        self = super().__new__(cls, name)
        self.meaning, self.remedy = meaning, remedy
        return self

    def __deepcopy__(self, _: object) -> Self:
        """Be the same in a copy of what contains it."""
        return self
