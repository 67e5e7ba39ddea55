import pytest

from fx.deploy import verify
from fx.interop.weights import read_weights, write_weights


def test_a_good_bundle(bundle):
    report = verify(bundle)
    assert report.ok and not report.damaged and report.error < 1e-5
    assert report.platform == "cpu" and report.tolerance == 1e-4
    assert str(report).startswith("files: ok\ngolden output on cpu: ok, differs by ")


def test_damaged_files_are_listed_and_nothing_is_run(copy):
    (copy / "weights.safetensors").write_bytes(b"")
    (copy / "golden.safetensors").unlink()
    report = verify(copy)
    assert not report.ok and report.error is None
    assert report.damaged.keys() == {"weights.safetensors", "golden.safetensors"}
    assert "weights.safetensors has 0 bytes, not" in str(report)


def test_golden_outputs_that_differ(copy):
    from fx.deploy import manifest

    kept = read_weights(copy / "golden.safetensors")
    kept["output.probabilities"] = kept["output.probabilities"] * 0
    write_weights(copy / "golden.safetensors", kept)
    contents = manifest.read(copy)
    names = list(contents["files"])
    manifest.write(copy, contents | {"files": manifest.describe_files(copy, names)})
    report = verify(copy)
    assert not report.ok and report.error > 0.25
    assert "golden output on cpu: FAILED, differs by 0." in str(report)
    assert str(report).endswith("tolerance 0.0001")
    assert verify(copy, tolerance=1.0).ok


def test_what_is_not_a_bundle(tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle at"):
        verify(tmp_path / "gone")
    with pytest.raises(ValueError, match="is not a bundle"):
        verify(tmp_path)
