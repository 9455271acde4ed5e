"""Starts processes of a Python program fast: its imports are made once, then each start is a fork.

    python -m operator_faults.nursery MODULE [MODULE…]     reads orders (JSON lines) from stdin, tells of ends on stdout

A child is a process of its own in every respect: it has its pid, can be killed, and shares nothing with its siblings
but memory pages. `Nursery` is the side of whoever orders.
"""

import asyncio
import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KUBECONFIG = "kubeconfig"
"""The file in a process's directory that says how it reaches the API server."""


@dataclass(slots=True)
class Child:
    """A process, its log, and its exit code when it has ended (negative: the signal that ended it)."""

    pid: int
    log: Path
    exit: asyncio.Future[int] = field(repr=False)

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return not self.exit.done()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended gets none."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)

    def text(self) -> str:
        """Return what it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class NurseryEnded(Exception):
    """Nobody can be started any more; the nursery's log says why."""

    def __str__(self) -> str:
        return "the nursery has ended: see nursery.log"


class Nursery:
    """Made by `nursery`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ordered: asyncio.Queue[asyncio.Future[tuple[int, asyncio.Future[int]]]] = asyncio.Queue()
        self._children: dict[int, asyncio.Future[int]] = {}
        self._lock = asyncio.Lock()
        self._closed = False

    async def start(
        self, module: str, *, directory: Path, environment: Mapping[str, str], arguments: Sequence[str] = ()
    ) -> Child:
        """Start a module as the main program of a new process, in a directory of its own.

        Libraries that look at `KUBECONFIG` when they are imported find the file `kubeconfig` there, too.
        """
        log = directory.with_suffix(".log")
        order: dict[str, Any] = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
        }
        order["directory"] = str(directory)
        async with self._lock:
            if self._closed:
                raise NurseryEnded
            born: asyncio.Future[tuple[int, asyncio.Future[int]]] = asyncio.get_running_loop().create_future()
            self._ordered.put_nowait(born)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            pid, ended = await born
        return Child(pid, log, ended)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                news = json.loads(line)
                if "born" in news:
                    ended = self._children[news["born"]] = asyncio.get_running_loop().create_future()
                    self._ordered.get_nowait().set_result((news["born"], ended))
                else:
                    self._children.pop(news["ended"]).set_result(news["exit"])
        finally:  # also where everything is cancelled at once: nobody would hear of an end any more
            self._closed = True
            for ended in self._children.values():
                ended.set_result(-signal.SIGKILL)  # it kills them at its end
            while not self._ordered.empty():
                self._ordered.get_nowait().set_exception(NurseryEnded())


@asynccontextmanager
async def nursery(modules: Sequence[str], python_path: Sequence[str], log: Path) -> AsyncIterator[Nursery]:
    """Run a nursery; at its end all children are killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(python_path), "KUBECONFIG": KUBECONFIG}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operator_faults.nursery",
            *modules,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=environment,
        )
    made = Nursery(process)
    listening = asyncio.create_task(made._listen())
    try:
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening


def _serve(modules: Sequence[str]) -> None:
    """Fork a child for each order, until nobody orders any more."""
    for module in modules:
        importlib.import_module(module)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    pids: dict[int, int] = {}
    buffer = b""
    while True:
        for key, _ in waiting.select():
            if key.fd != 0:
                _tell(ended=pids[key.fd], exit=os.waitstatus_to_exitcode(os.waitpid(pids[key.fd], 0)[1]))
                waiting.unregister(key.fd)
                os.close(key.fd)
                del pids[key.fd]
                continue
            read = os.read(0, 2**16)
            if not read:
                for pid in pids.values():
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                return
            *orders, buffer = (buffer + read).split(b"\n")
            for order in orders:
                pid = os.fork()
                if pid == 0:
                    _become(**json.loads(order))
                pids[os.pidfd_open(pid)] = pid
                waiting.register(next(fd for fd, each in pids.items() if each == pid), selectors.EVENT_READ)
                _tell(born=pid)


def _tell(**news: int) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _become(module: str, arguments: list[str], environment: dict[str, str], log: str, directory: str) -> None:
    """Be the child: its environment, its output, its program."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    silence = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((silence, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = [module, *arguments]
    for name in (module, f"{module}.__main__"):
        if not hasattr(sys.modules.get(name), "__path__"):
            sys.modules.pop(name, None)  # runpy warns where the main program is imported already
    code: Any = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])
