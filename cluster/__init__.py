"""A real Kubernetes on any Linux machine: the cluster that the demo and the tests of Perennial run on.

Three providers give the same thing, a kubeconfig and a way to load images:

* ``local``: Kubernetes compiled from its own Go module, one node
  as one process tree in its own namespaces (root, no Docker);
* ``kind``: a kind cluster, where Docker and kind are installed;
* ``current``: the cluster that the user's kubeconfig points at, only when asked for by name.

Everything in this package runs before any virtual environment exists, so it uses the standard library only.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  whoever comes with an older one should read a sentence
    sys.exit("Perennial needs Python 3.11 or newer; choose one with `make PYTHON=…`.")
