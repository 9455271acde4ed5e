"""Generates what Kubernetes must be told of the API: the CustomResourceDefinitions."""
