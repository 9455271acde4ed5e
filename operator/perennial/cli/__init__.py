"""`kubectl perennial`: what keeps a model healthy, as a tree, and why it is not, as a chain.

It shells out to kubectl, because it is a kubectl plugin: kubectl is there, knows the context, the proxies and every way
to authenticate, and starts in 50 ms, where importing a Kubernetes client takes a second. For the same reason nothing
here imports pydantic: objects are the plain data that the API server's schema has already judged.

    __main__ → kubectl (reads) → snapshot (finds one's way) → tree, why (pure) → rendering (text)
"""
