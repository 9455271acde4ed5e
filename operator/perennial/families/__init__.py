"""What there may be more of.

A family is a package: `base.py`, one file a member, and the list of them in its `__init__.py`.
"""
