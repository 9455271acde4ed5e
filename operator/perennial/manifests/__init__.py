"""Kubernetes objects: how they are built, and what became of them. Pure, and without a word of the three kinds."""
