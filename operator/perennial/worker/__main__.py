"""The command line: `python3 -m perennial.worker check | materialise | fetch-model | evaluate`."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from perennial.worker import report
from perennial.worker.errors import BadArguments, WorkerError

Command = Callable[[argparse.Namespace], dict[str, Any]]


class _Parser(argparse.ArgumentParser):
    """Ends with 64 for bad arguments, as the contract has it, not with argparse's 2."""

    def error(self, message: str) -> NoReturn:
        raise BadArguments(f"{self.prog}: {message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        run: Command = options.run
        report.publish(run(options))
    except WorkerError as error:
        report.publish_error(str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, people must learn of it in a sentence
        traceback.print_exc()
        report.publish_error(_fault(error))
        return WorkerError.exit_code
    return 0


def _fault(error: Exception) -> str:
    """Return what people are told of an error that is Perennial's own, and what a bug report needs of it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        "this is a fault of Perennial's worker, not of what it was given; please report it, with "
        f"“{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}”"
    )


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from perennial.worker.check import check, requested  # noqa: PLC0415 - each command imports what it needs

    return check(options.source, options.snapshots, requested(options.spec)).json_data()


def _materialise(options: argparse.Namespace) -> dict[str, Any]:
    from perennial.worker.materialise import Purpose, Rows, materialise  # noqa: PLC0415

    rows = Rows(options.time, options.from_, options.until)
    purpose = Purpose(options.part, options.dataset, options.target)
    return materialise(options.snapshots, options.digest, options.to, rows, purpose)


def _fetch_model(options: argparse.Namespace) -> dict[str, Any]:
    from perennial.worker.registry import Registry  # noqa: PLC0415

    files = Registry().download(f"models:/{options.model}/{options.version}", options.to, options.digest)
    return {"model": options.model, "version": options.version, "digest": files.digest}


def _evaluate(options: argparse.Namespace) -> dict[str, Any]:
    from perennial.worker.evaluate import Champion, evaluate, request_of  # noqa: PLC0415

    if options.baseline_version and not options.model:
        raise BadArguments("--baseline-version needs --model, the registered model's name")
    champion = None
    if options.baseline_version:
        champion = Champion(options.model, options.baseline_version, options.baseline_digest)
    return evaluate(options.data, options.run_id, champion, request_of(options.spec))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="perennial.worker", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="make a source's content a version, and judge it")
    check.set_defaults(run=_check)
    check.add_argument("--source", type=Path, required=True, help="folder with *.parquet files; only read")
    check.add_argument("--snapshots", type=Path, required=True, help="folder that keeps the versions")
    _add_spec(check, "PERENNIAL_DATASET", "JSON of what the data must be (CheckRequest)")

    materialise = commands.add_parser("materialise", help="put the rows a run may see into a folder")
    materialise.set_defaults(run=_materialise)
    materialise.add_argument("--snapshots", type=Path, required=True, help="folder that keeps the versions")
    materialise.add_argument("--digest", required=True, help="the version, sha256:…")
    materialise.add_argument("--to", type=Path, required=True, help="empty folder for the rows")
    materialise.add_argument("--time", help="the column with the event time")
    materialise.add_argument("--from", dest="from_", type=_moment, metavar="RFC3339", help="the first moment wanted")
    materialise.add_argument("--until", type=_moment, metavar="RFC3339", help="the first moment not wanted any more")
    materialise.add_argument("--part", choices=("train", "test"), required=True, help="what the rows are for")
    name, target = os.environ.get("PERENNIAL_DATASET_NAME"), os.environ.get("PERENNIAL_TARGET")
    materialise.add_argument("--dataset", default=name, help="for _dataset.json; default: $PERENNIAL_DATASET_NAME")
    materialise.add_argument("--target", default=target, help="for _dataset.json; default: $PERENNIAL_TARGET")

    fetch = commands.add_parser("fetch-model", help="download a registered model's version and verify it")
    fetch.set_defaults(run=_fetch_model)
    fetch.add_argument("--model", required=True, help="the registered model's name")
    fetch.add_argument("--version", required=True, help="its version")
    fetch.add_argument("--digest", help="the digest that its files must have, sha256:…")
    fetch.add_argument("--to", type=Path, required=True, help="folder for the model; its content is replaced")

    evaluate = commands.add_parser(
        "evaluate", help="measure a trained model's and the champion's losses on the same rows"
    )
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("--data", type=Path, help="folder with the held-out rows; not needed without metrics")
    evaluate.add_argument("--run-id", required=True, help="the run in MLflow that logged the trained model")
    evaluate.add_argument("--model", help="the registered model's name")
    evaluate.add_argument("--baseline-version", help="the champion's version")
    evaluate.add_argument("--baseline-digest", help="the digest recorded for the champion, sha256:…")
    _add_spec(evaluate, "PERENNIAL_EVALUATION", "JSON of what is measured: target, time, metrics")
    return parser


def _add_spec(parser: argparse.ArgumentParser, variable: str, what: str) -> None:
    default = os.environ.get(variable)
    parser.add_argument("--spec", default=default, required=default is None, help=f"{what}; default: ${variable}")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} must have a time zone, such as Z")
    return moment.astimezone(UTC)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # the first process of a container has no default for it
    sys.exit(main())
