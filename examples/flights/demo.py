"""Brings the story about and tells it: (being written by the lead; please leave this file, write the manifests and flaky_server.py)."""
