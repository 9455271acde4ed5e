"""The command line of `kubectl perennial`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from perennial import __version__
from perennial.cli.errors import CliError
from perennial.cli.kubectl import CHILD_KINDS, CHILD_SELECTOR, OWN_KINDS, Target, read
from perennial.cli.rendering import Style, answer_lines, tree_lines
from perennial.cli.snapshot import TRAINING_RUN, Object, Snapshot, State, namespace
from perennial.cli.tree import Node, branch, forest
from perennial.cli.why import why

OK, ERROR, NOT_READY = 0, 1, 2
WATCH_SECONDS = 2.0
HEALTHY = {State.OK, State.NONE, State.PAUSED}
EPILOG = """\
exit codes: 0 all is well, 1 the question could not be answered, 2 something is not ready
(`get` without a name passes over TrainingRuns that failed: they are history)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plugin; return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        return OK
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        return OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubectl perennial",
        description="What keeps your models healthy, and why it does not.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kubectl-perennial {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    get = verbs.add_parser("get", help="show data, runs, models and canaries as a tree", epilog=EPILOG)
    get.add_argument("name", nargs="?", metavar="[KIND/]NAME", help="only what hangs together with this object")
    get.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    get.add_argument("-w", "--watch", action="store_true", help="draw it anew every 2 s, until interrupted")
    get.set_defaults(run=_get)
    ask = verbs.add_parser("why", help="why an object is not ready: the chain to the first cause", epilog=EPILOG)
    ask.add_argument("name", metavar="[KIND/]NAME", help="dataset/…, trainingrun/… or modeldeployment/…")
    ask.set_defaults(run=_why, all_namespaces=False)
    for verb in (get, ask):
        verb.add_argument("-n", "--namespace", help="the namespace; default: the context's")
        verb.add_argument("-o", "--output", choices=["json", "yaml"], help="data instead of text")
        verb.add_argument("--context", help="the kubeconfig's context")
        verb.add_argument("--kubeconfig", help="the kubeconfig's path")
    return parser


def _target(parsed: argparse.Namespace) -> Target:
    return Target(
        namespace=parsed.namespace,
        all_namespaces=parsed.all_namespaces,
        context=parsed.context,
        kubeconfig=parsed.kubeconfig,
    )


def _get(parsed: argparse.Namespace) -> int:
    if parsed.watch and parsed.output:
        raise CliError("--watch draws for people, so it must be used without --output.")
    while True:
        snapshot = Snapshot.of(read(_target(parsed), OWN_KINDS))
        wanted = snapshot.find(parsed.name) if parsed.name else None
        trees = forest(snapshot) if wanted is None else branch(forest(snapshot), wanted)
        if not parsed.watch:
            break
        text = "\n".join(_drawn(parsed, trees))
        print(f"\x1b[2J\x1b[H{text}" if sys.stdout.isatty() else f"{text}\n", flush=True)
        time.sleep(WATCH_SECONDS)
    if parsed.output:
        _print_data({"items": [tree.json_data() for tree in trees]}, parsed.output)
    else:
        print("\n".join(_drawn(parsed, trees)))
    return OK if _healthy(trees, wanted) else NOT_READY


def _drawn(parsed: argparse.Namespace, trees: tuple[Node, ...]) -> list[str]:
    if trees:
        return list(tree_lines(trees, Style.of(), namespaces=parsed.all_namespaces))
    where = "in any namespace" if parsed.all_namespaces else f"in namespace {parsed.namespace or 'of this context'}"
    return [f"There is no Dataset, TrainingRun or ModelDeployment {where}."]


def _healthy(trees: tuple[Node, ...], wanted: Object | None) -> bool:
    """Whether what was asked for is ready: the named object, or all but runs, which end one way or the other."""
    if wanted is not None:
        key = (wanted["kind"], namespace(wanted), wanted["metadata"]["name"])
        asked = [node for tree in trees for node in tree.walk() if (node.kind, node.namespace, node.name) == key]
    else:
        asked = [node for tree in trees for node in tree.walk() if node.namespace and node.kind != TRAINING_RUN]
    return all(node.state in HEALTHY for node in asked)


def _why(parsed: argparse.Namespace) -> int:
    target = _target(parsed)
    own = read(target, OWN_KINDS)
    wanted = Snapshot.of(own).find(parsed.name)
    try:
        children = read(target, CHILD_KINDS, selector=CHILD_SELECTOR)
    except CliError as error:
        print(f"warning: Jobs and pods are not looked at: {error}", file=sys.stderr)
        children = []
    answer = why(Snapshot.of(own, children), wanted)
    if parsed.output:
        _print_data(answer.json_data(), parsed.output)
    else:
        print("\n".join(answer_lines(answer, Style.of())))
    return OK if answer.state in HEALTHY else NOT_READY


def _print_data(data: dict[str, Any], form: str) -> None:
    if form == "json":
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415 - 30 ms that only -o yaml pays

    print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), end="")


if __name__ == "__main__":
    sys.exit(main())
