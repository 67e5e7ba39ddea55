"""manifest.json: what a bundle holds, who wrote it, and the hashes to hold it to."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
from jax import export

from fx import __version__
from fx.deploy.signature import is_count

NAME = "manifest.json"
PROGRAM, WEIGHTS, GOLDEN = "model.stablehlo", "weights.safetensors", "golden.safetensors"
FORMAT, FORMAT_VERSION = "fx-bundle", 2
READABLE = (1, 2)  # 1 had one input, of fixed sizes but for the batch
FIELDS = {
    "inputs": list,
    "outputs": list,
    "platforms": list,
    "versions": dict,
    "calling_convention_version": int,
    "rows_independent": bool,
    "golden": dict,
    "files": dict,
}
_MEND = "copy or export the bundle again"
COMPATIBILITY = (
    "jax.export promises that a jaxlib built up to 6 months after the one that wrote "
    "model.stablehlo reads it, and one built up to 3 weeks before; then export again, or use the "
    "versions above"
)


def versions() -> dict[str, str]:
    """The versions that write a bundle."""
    return {"fx": __version__, "jax": jax.__version__, "jaxlib": jaxlib.version.__version__}


def describe_files(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each file."""
    return {
        name: {"size_bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
        for name in names
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes manifest.json, the same bytes for the same contents."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Reads and checks the manifest of the bundle at `path`.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: `path` is not a bundle, or its manifest is damaged or of a newer format.
    """
    if not path.exists():
        raise FileNotFoundError(f"no bundle at {path}")
    if not (path / NAME).is_file():
        raise ValueError(f"{path} is not a bundle, that is, a folder with {NAME} in it")
    where = path / NAME
    try:
        manifest = json.loads(where.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where} is damaged: {error}; {_MEND}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f'{where} is not of a bundle: expected "format": "{FORMAT}"')
    version = manifest.get("format_version")
    if version not in READABLE:
        raise ValueError(
            f"{where} has format version {version}, this fx reads {READABLE[0]} to {READABLE[-1]}: "
            f"use the fx that wrote it ({manifest.get('versions')})"
        )
    for field, kind in FIELDS.items():
        if not isinstance(manifest.get(field), kind):
            raise ValueError(
                f'{where} is damaged: expected "{field}" of kind {kind.__name__}, '
                f"got {manifest.get(field)!r}; {_MEND}"
            )
    _check_contents(manifest, where)
    return manifest


def _check_contents(manifest: dict[str, Any], where: Path) -> None:
    """Raises a ValueError that names the field in which something else stands than export wrote."""
    limits = manifest.get("limits", {} if manifest["format_version"] == 1 else None)
    tolerance, classes = manifest["golden"].get("tolerance"), manifest.get("classes")
    fits = {
        "inputs": _are_entries(manifest["inputs"]),
        "outputs": _are_entries(manifest["outputs"]),
        "limits": isinstance(limits, dict) and all(map(_is_limit, limits.values())),
        "platforms": all(isinstance(name, str) for name in manifest["platforms"]),
        "golden": isinstance(tolerance, dict)
        and all(name in [*tolerance] for name in manifest["platforms"])
        and all(isinstance(number, float) for number in tolerance.values()),
        "classes": classes is None
        or (isinstance(classes, list) and all(isinstance(name, str) for name in classes)),
    }
    for field, fit in fits.items():
        if not fit:
            raise ValueError(
                f'{where} is damaged: "{field}" is {manifest.get(field)!r}, which no export '
                f"writes; {_MEND}"
            )


def _are_entries(listed: list[Any]) -> bool:
    """Whether name, shape and dtype of each input or output are there, no name twice."""
    names = [spec.get("name") if isinstance(spec, dict) else None for spec in listed]
    return (
        all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
        and all(isinstance(spec.get("dtype"), str) and _is_shape(spec) for spec in listed)
    )


def _is_shape(spec: dict[str, Any]) -> bool:
    shape = spec.get("shape")
    return (
        isinstance(shape, list)
        and shape[:1] != []
        and (shape[0] is None or is_count(shape[0]))
        and all(isinstance(n, (int, str)) for n in shape[1:])
    )


def _is_limit(limit: Any) -> bool:
    """Whether it is first size, last size and step."""
    if not isinstance(limit, list) or [type(n) for n in limit] != [int] * 3:
        return False
    first, last, step = limit
    return 0 < step <= first <= last


def damage(path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each listed file, by name: nothing where all is as it was written."""
    found = {}
    for name in sorted({PROGRAM, WEIGHTS, GOLDEN, *manifest["files"]}):
        wanted, file = manifest["files"].get(name), path / name
        if not isinstance(wanted, dict) or Path(name).name != name:
            found[name] = "is not listed in the manifest as it should be"
        elif not file.is_file():
            found[name] = "is missing"
        elif file.stat().st_size != wanted.get("size_bytes"):
            found[name] = f"has {file.stat().st_size} bytes, not {wanted.get('size_bytes')}"
        elif (sha256 := _sha256(file)) != wanted.get("sha256"):
            found[name] = (
                f"was altered: its sha256 is {sha256[:12]}.., not {wanted['sha256'][:12]}.."
            )
    return found


def check_classes(classes: Sequence[str] | None, outputs: Sequence[dict[str, Any]]) -> None:
    """Raises a ValueError unless there is a name for each probability, or no names at all."""
    if classes is None:
        return
    for output in outputs:
        if output["name"] == "probabilities" and output["shape"][1:] != [len(classes)]:
            raise ValueError(
                f"there are {output['shape'][-1]} probabilities and {len(classes)} classes; "
                "give as many names as the model has outputs"
            )


def check_files(path: Path, manifest: dict[str, Any]) -> None:
    """Raises a ValueError that names every missing or altered file."""
    found = damage(path, manifest)
    if found:
        listed = "; ".join(f"{name} {what}" for name, what in found.items())
        raise ValueError(f"{path} is damaged: {listed}; {_MEND}")


def check_runs_here(path: Path, manifest: dict[str, Any]) -> None:
    """Raises a ValueError when this machine or this jax cannot run the bundle."""
    here = export.default_export_platform()
    if here not in manifest["platforms"]:
        raise ValueError(
            f"{path} was exported for {', '.join(manifest['platforms'])}, and this is {here}; "
            f"export it with platforms=(..., {here!r})"
        )
    lowest = export.minimum_supported_calling_convention_version
    highest = export.maximum_supported_calling_convention_version
    version = manifest["calling_convention_version"]
    if not lowest <= version <= highest:
        raise ValueError(
            f"{path} has calling convention {version}, and jax {jax.__version__} knows {lowest} to "
            f"{highest}: use jax {manifest['versions'].get('jax')}, which wrote it, or export again"
        )
