"""What the plugin tells instead of a stack trace."""


class CliError(Exception):
    """One sentence for the person at the terminal: what must hold, or what to do."""
