"""What there may be more of.

A family is a module that says what a member is (`metric.py`), and a package of one file a member with the list of them
in its `__init__.py` (`metrics/`). Members do not know each other.
"""
