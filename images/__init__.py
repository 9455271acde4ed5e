"""Builds the images of Perennial and of its example, without Docker and without a registry.

Each image is a few layers: Debian with Python, the locked packages, our own package. A layer is kept in the cache under
a key of what it is made from, so that a changed line costs one thin layer. The ``Containerfile`` in each image's
directory builds the same with Docker or buildah, for everybody who publishes it.
"""
