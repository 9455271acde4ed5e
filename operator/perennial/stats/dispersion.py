"""How much more failures vary than by chance alone: known beforehand, from the stable version against itself.

Failures of one pod come in bursts: it dies, restarts, runs into a limit. A canary that has such a burst isn't worse
than a stable version that has them, too, and no test that takes each failure for independent knows. So stable's pods
are split into two halves, which run the same, and Pearson's X²/df of one half's failures given both's says by how much
increments of log likelihood are to be divided (P. McCullagh and J. Nelder, Generalized Linear Models, 1989, section
4.5). It is taken over blocks of several lengths, because a burst lasts, and the largest counts. It must be known before
a canary: learned within it, it hides what it should judge by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

BLOCKS = (1.0, 4.0, 16.0, 64.0)
"""Seconds that a block lasts."""
MEMORY = 7 * 86_400.0
"""Seconds of blocks that are remembered in full: beyond that, all that is known is worth half."""
PRIOR = 10.0
"""So many blocks without over-dispersion are believed beforehand: a few blocks tell little."""

Half = tuple[float, float]
"""Requests, and bad ones among them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Blocks of one length: the one that is running, and the sums over those that have ended."""

    seconds: float
    began: float | None = None
    halves: tuple[Half, Half] = ((0.0, 0.0), (0.0, 0.0))
    squares: float = 0.0
    ended: float = 0.0

    def after(self, time: float, halves: tuple[Half, Half]) -> Self:
        """Return the blocks with what was counted until `time`, in seconds."""
        began = time if self.began is None else self.began
        if time - began < self.seconds:
            first, second = (
                (mine[0] + more[0], mine[1] + more[1]) for mine, more in zip(self.halves, halves, strict=True)
            )
            return replace(self, began=began, halves=(first, second))
        more, one = _pearson(*self.halves)
        squares, ended = self.squares + more, self.ended + one
        worth = 0.5 if ended * self.seconds > MEMORY else 1.0
        return replace(self, began=time, halves=halves, squares=worth * squares, ended=worth * ended)

    @property
    def phi(self) -> float:
        """X²/df of the blocks that have ended, drawn towards 1."""
        return (self.squares + PRIOR) / (self.ended + PRIOR)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """What is known of the stable version's failures, folded; plain numbers, so that it is kept as JSON."""

    blocks: tuple[Block, ...] = tuple(Block(seconds) for seconds in BLOCKS)

    def after(self, time: float, halves: tuple[Half, Half]) -> Self:
        """Return it with what both halves of stable's pods did until `time` (seconds), since the last call."""
        return replace(self, blocks=tuple(block.after(time, halves) for block in self.blocks))

    @property
    def phi(self) -> float:
        """By how much increments of log likelihood are to be divided, >= 1."""
        return max(1.0, *(block.phi for block in self.blocks))

    def numbers(self) -> list[list[float]]:
        """Return what must be kept: of each length of block its seconds, X² and how many have ended."""
        return [[block.seconds, block.squares, block.ended] for block in self.blocks]

    @classmethod
    def of(cls, numbers: Sequence[Sequence[float]]) -> Self:
        """Return what was kept; blocks of lengths that are used no more are dropped, the running ones begin anew."""
        kept = {seconds: (squares, ended) for seconds, squares, ended in numbers}
        nothing = (0.0, 0.0)
        blocks = (
            Block(seconds, squares=squares, ended=ended)
            for seconds, (squares, ended) in ((seconds, kept.get(seconds, nothing)) for seconds in BLOCKS)
        )
        return cls(tuple(blocks))


def _pearson(first: Half, second: Half) -> tuple[float, int]:
    """Return X² of one half's bad requests given both's, and 1, or nothing where nothing can be said."""
    bad, total = first[1] + second[1], first[0] + second[0]
    if bad <= 0 or total <= 0 or not 0 < first[0] < total:
        return 0.0, 0
    share = first[0] / total
    return (first[1] - bad * share) ** 2 / (bad * share * (1 - share)), 1
