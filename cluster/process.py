"""Programs that this package starts: run to the end with their output on failure, or kept running and watched."""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import ClusterError

_LOG_LINES = 15
# The kernel kills the program when the thread that started it ends, however it ends.
_DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


def run(
    arguments: Sequence[str | Path],
    *,
    because: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    text: str | None = None,
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        arguments: The program and its arguments.
        because: What it is for; begins the error message, for example ``Loading the images failed``.
        environment: Variables to add to this process's own.
        directory: Where to run it.
        text: What to write to its standard input.

    Raises:
        ClusterError: The program is not there or ended with another code than 0. The message quotes its last lines.
    """
    command = [str(argument) for argument in arguments]
    try:
        done = subprocess.run(
            command,
            env=os.environ | dict(environment or {}),
            cwd=directory,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{because}: the program {command[0]} must be installed.") from error
    if done.returncode != 0:
        tail = last_lines(done.stderr or done.stdout)
        raise ClusterError(f"{because} ({command[0]} ended with {done.returncode}):\n{tail}")
    return done.stdout


def last_lines(text: str, count: int = _LOG_LINES) -> str:
    """Return the end of a log, indented, for an error message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-count:])


def wait_until(condition: Callable[[], bool], *, seconds: float, otherwise: Callable[[], str]) -> None:
    """Poll a condition every 50 ms.

    Args:
        condition: Returns whether the wait is over. Exceptions pass through.
        seconds: How long to wait.
        otherwise: Returns the message of the error raised at the deadline.

    Raises:
        ClusterError: The condition did not come true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(otherwise())
        time.sleep(0.05)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, waiting for whoever holds it. The kernel frees it when its holder dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(slots=True)
class Program:
    """A long-running program and its log file.

    Attributes:
        name: What to call it in messages, and the name of its log.
        arguments: The program and its arguments.
        log: Where its output goes.
        environment: Variables to add to this process's own.
        descriptors: Open files that it inherits.
    """

    name: str
    arguments: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it. It is killed when this process ends, however this process ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*_DIES_WITH_PARENT, *(str(argument) for argument in self.arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(self.environment),
                start_new_session=True,
                pass_fds=self.descriptors,
            )

    @property
    def pid(self) -> int | None:
        """The process id, once started."""
        return None if self.process is None else self.process.pid

    def ended(self) -> bool:
        """Return whether it was started and runs no more."""
        return self.process is not None and self.process.poll() is not None

    def stop(self, seconds: float = 5.0) -> None:
        """End it: politely first, by force after some seconds. Does nothing when it has ended."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def failure(self) -> str:
        """Return a message with the end of its log."""
        tail = last_lines(self.log.read_text(errors="replace")) if self.log.exists() else ""
        return f"{self.name} did not start; the end of its log {self.log}:\n{tail}"
