"""The command `fx`: bundles above all, a check-up, and porting."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from fx import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments, without the program's name; by default those of the process.

    Returns:
        The exit code: 0, or 1 after a failure, which is one line on stderr, and where `doctor`
        found something wrong. Wrong usage exits with 2, as argparse does.
    """
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"fx {arguments.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fx", description="Use bundles of fx.export; check up; port from PyTorch."
    )
    parser.add_argument("--version", action="version", version=f"fx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="classify image files")
    predict.add_argument("bundle")
    predict.add_argument("images", nargs="+", metavar="image")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.add_argument("--top", type=_positive, default=1, metavar="K", help="the K best classes")
    predict.set_defaults(run=_predict)

    verify = commands.add_parser("verify", help="check a bundle's files and golden output")
    verify.add_argument("bundle")
    verify.set_defaults(run=_verify)

    inspect = commands.add_parser("inspect", help="show a bundle's manifest")
    inspect.add_argument("bundle")
    inspect.add_argument("--json", action="store_true", help="as the file has it")
    inspect.set_defaults(run=_inspect)

    port = commands.add_parser("port", help="write a PyTorch model as fx source (runs the file)")
    port.add_argument("file", help="the Python file that defines the model; it is executed")
    port.add_argument("--call", required=True, help='what makes the model: "Net(num_classes=10)"')
    port.add_argument(
        "--input", action="append", required=True, metavar="SHAPE[:DTYPE[:BELOW]]",
        help="an example input, 2,3,32,32 or 2,6:int64:13; once for each input",
    )  # fmt: skip
    port.add_argument("--tolerance", type=float, default=1e-4, help="of the outputs, relative")
    port.add_argument("--out", help="where the source goes")
    port.set_defaults(run=_port)

    doctor = commands.add_parser("doctor", help="show versions, devices and what is wrong")
    doctor.add_argument("--json", action="store_true", help="facts and findings as JSON")
    doctor.set_defaults(run=_doctor)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {number}")
    return number


def _predict(arguments: argparse.Namespace) -> int:
    from fx.deploy import load_bundle

    engine, code = load_bundle(arguments.bundle), 0
    for image, found in _answers(engine, arguments.images):
        if isinstance(found, Exception):
            print(f"fx predict: {' '.join(str(found).split())}", file=sys.stderr)
            code = 1
            continue
        probabilities = found["probabilities"].tolist()
        order = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
        best = [
            {"class": engine.class_name(i), "class_index": i, "probability": probabilities[i]}
            for i in order[: arguments.top]
        ]
        if arguments.json:
            line = {"image": image, **found, "probabilities": probabilities}
            if arguments.top > 1:
                line["top"] = best
            print(json.dumps(line, ensure_ascii=False))
        else:
            print(f"{image}: " + ", ".join(f"{b['class']} {b['probability']:.4f}" for b in best))
    return code


def _answers(engine: Any, images: list[str]) -> Iterator[tuple[str, Any]]:
    """What a bundle says of each image; the error, of one that it cannot take."""
    list(engine.iter_predict([]))  # raises where the bundle gives no probabilities: for all of them
    together = not engine.manifest["rows_independent"]  # then one that is missing changes all
    size = len(images) if together else engine.max_batch_size
    for at in range(0, len(images), size):
        piece = images[at : at + size]
        try:
            found = list(engine.iter_predict(piece))
        except (OSError, ValueError):
            if together:
                raise
            found = [_answer(engine, image) for image in piece]
        yield from zip(piece, found, strict=True)


def _answer(engine: Any, image: str) -> Any:
    try:
        return engine.predict(image)
    except (OSError, ValueError) as error:
        return error


def _verify(arguments: argparse.Namespace) -> int:
    from fx.deploy import verify

    report = verify(arguments.bundle)
    if report.ok:
        print(report)
        return 0
    raise ValueError(f"{arguments.bundle}: {'; '.join(str(report).splitlines())}")


def _inspect(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fx.deploy import manifest

    contents = manifest.read(Path(arguments.bundle))
    if arguments.json:
        print(json.dumps(contents, indent=2, ensure_ascii=False))
    else:
        for field, value in contents.items():
            print(_field(field, value))
    return 0


def _port(arguments: argparse.Namespace) -> int:
    from fx.porting.file import port_file

    found = port_file(arguments.file, arguments.call, arguments.input, arguments.tolerance)
    print(found)
    if arguments.out and not found.obstacles:
        found.save(arguments.out)
        print(f"written: {arguments.out}")
    return 0 if found.equal else 1


def _doctor(arguments: argparse.Namespace) -> int:
    from fx import doctor

    checkup = doctor.examine()
    print(checkup.json() if arguments.json else checkup)
    return 0 if checkup.ok else 1


def _field(name: str, value: Any) -> str:
    """A field of the manifest for reading; what needs several lines stands indented below."""
    from fx.deploy.signature import show

    if name in {"inputs", "outputs"}:
        text = "\n".join(f"{spec['name']}: {show(spec)}" for spec in value)
    elif name == "files":
        text = "\n".join(
            f"{file}: {about['size_bytes']} bytes, sha256 {about['sha256']}"
            for file, about in value.items()
        )
    elif name == "limits":
        text = "\n".join(
            f"{axis}: {first} to {last}" + f" in steps of {step}" * (step > 1)
            for axis, (first, last, step) in value.items()
        )
    elif isinstance(value, dict):
        text = "\n".join(f"{key}: {item}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    else:
        text = "" if value is None else str(value)
    if text and (isinstance(value, dict) or name in {"inputs", "outputs"} or "\n" in text):
        return "\n  ".join([f"{name}:", *text.splitlines()])
    return f"{name}: {text or 'none'}"
