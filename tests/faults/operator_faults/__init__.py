"""Faults between a Kubernetes operator and its API server, injected by rule; see README.md beside this package.

Nothing here knows the operator under test: it says by `Subject` how it is started and what counts.
"""
