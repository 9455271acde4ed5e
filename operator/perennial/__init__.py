"""Perennial keeps machine-learning models healthy in production."""

__version__ = "0.3.0"
