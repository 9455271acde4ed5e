"""The one error of this package."""


class ClusterError(Exception):
    """Something that the user can put right. The message says what must hold, or quotes the end of a log."""
