"""Breaks since the last release that are meant, each with the reason. A release empties the list."""

from collections.abc import Mapping

from perennial.schema.compatibility import Break

ARGUED: Mapping[Break, str] = {}
