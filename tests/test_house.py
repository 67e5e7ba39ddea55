"""The house: imports run downward, files stay short, `import fx` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    "functional", "nn", "optim", "interop", "models", "porting", "data", "checkpoint", "evaluate",
    "debug", "train", "deploy", "serve", "doctor", "cli",
]  # fmt: skip
PORTING = ["pairs", "read", "model", "calls", "effects", "text", "proof", "file"]
FILES = sorted((ROOT / "fx").rglob("*.py"))


def floor(path: Path) -> str:
    return path.relative_to(ROOT / "fx").parts[0].removesuffix(".py")


def imported(path: Path, within: str = "fx.") -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    inside = [name.removeprefix(within) for name in names if name.startswith(within)]
    return [name.split(".")[0] for name in inside]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(path):
    if floor(path) not in FLOORS:
        return
    upward = [
        n for n in imported(path) if n in FLOORS and FLOORS.index(n) > FLOORS.index(floor(path))
    ]
    assert not upward, f"{path} imports {upward}, which stand above it"


@pytest.mark.parametrize("path", sorted((ROOT / "fx/porting").glob("*/*.py")), ids=str)
def test_imports_of_porting_run_downward(path):
    here = PORTING.index(path.parent.name)
    upward = [n for n in imported(path, "fx.porting.") if n in PORTING[here + 1 :]]
    assert not upward, f"{path} imports {upward}, which stand above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400


def test_the_core_reads_in_ten_minutes():
    core = [ROOT / "fx/nn/module.py", ROOT / "fx/nn/scope.py"]
    assert sum(len(path.read_text().splitlines()) for path in core) <= 350


def test_every_folder_of_the_house_is_a_known_floor():
    known = {*FLOORS, "__init__", "__main__", "runtime", "donated", "upright"}
    assert {floor(path) for path in FILES} <= known


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_fx_imports_no_jax():
    code = "import sys, fx; print(sorted({'jax', 'flax', 'numpy', 'torch'} & set(sys.modules)))"
    assert run(code) == "[]"


def test_every_public_name_resolves():
    assert (
        run("import fx; [getattr(fx, n) for n in fx.__all__]; print(len(fx.__all__) > 10)")
        == "True"
    )


def test_importing_everything_starts_no_backend():
    code = (
        "import fx; [getattr(fx, n) for n in fx.__all__];"
        "from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    )
    assert run(code) == "False"


@pytest.mark.parametrize("part", ["functional", "nn"])
def test_nothing_looks_at_the_default_backend(part):
    """It would bake one platform's form into an export; lax.platform_dependent does not."""
    for path in (ROOT / "fx" / part).glob("*.py"):
        names = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not names & {"default_backend", "devices", "local_devices", "device_count"}, path
