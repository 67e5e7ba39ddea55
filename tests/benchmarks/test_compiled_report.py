"""What is read from a program that XLA compiled for a GPU."""

import importlib.util

import pytest

from benchmarks import compiled
from benchmarks.page import results
from benchmarks.page.own import programs

HLO = """HloModule jit_step

%fused (p: bf16[8,4,4,16]) -> bf16[8,4,4,16] {
  %p = bf16[8,4,4,16]{3,2,1,0} parameter(0)
  ROOT %t = bf16[8,4,4,16]{3,2,1,0} copy(%p)
}

ENTRY %main (w: f32[32,16,3,3], x: bf16[8,4,4,16]) -> (bf16[8,4,4,32], f32[]) {
  %w = f32[32,16,3,3]{3,2,1,0} parameter(0)
  %x = bf16[8,4,4,16]{3,2,1,0} parameter(1)
  %copy.1 = f32[32,3,3,16]{3,2,1,0} copy(%w)
  %wrapped_transpose.2 = bf16[8,16,4,4]{3,2,1,0} fusion(%x), kind=kInput, calls=%fused
  %bitcast.1 = bf16[8,4,4,16]{3,2,1,0} bitcast(%wrapped_transpose.2)
  %conv = (bf16[8,4,4,32]{3,2,1,0}, u8[512]{0}) custom-call(%bitcast.1, %copy.1), custom_call_target="__cudnn$convForward"
  %get-tuple-element = bf16[8,4,4,32]{3,2,1,0} get-tuple-element(%conv), index=0
  %copy.2 = f32[] copy(%w)
  %att = bf16[2]{0} custom-call(%copy.2), custom_call_target="__cudnn$fmhaSoftmax"
  ROOT %tuple = (bf16[8,4,4,32]{3,2,1,0}, f32[]) tuple(%get-tuple-element, %copy.2)
}
"""  # noqa: E501


def test_kernels_are_counted_and_what_moves_an_activation_alone():
    found = compiled.counts(HLO, {(3, 3, 16, 32)})
    activations, weights = 2 * (8 * 4 * 4 * (16 + 32)), 4 * 32 * 9 * 16
    assert found == {
        "kernels": 5, "convolutions": 1, "attention": 1, "moved": 1,
        "library_bytes": activations + weights + 2 * 2 + 4,
    }  # fmt: skip
    assert compiled.counts(HLO, set())["moved"] == 2


def test_the_page_has_a_row_for_each_program():
    found = {"kernels": 1234, "convolutions": 17, "attention": 0, "moved": 0}
    entry = {
        "command": "python -m benchmarks.compiled",
        "versions": {"jax": "0.11.2"},
        "machine": {"cpu": "x", "cores": 2, "load_at_start": 0.1},
        "settings": {},
        "programs": [
            {
                "network": "ConvNet", "batch": 512, "precision": "bf16",
                "contenders": {
                    "fx": {**found, "bytes": 2e9, "temporary_bytes": 1.5e8},
                    "plain JAX by hand": {**found, "bytes": 1e9, "temporary_bytes": 1e8},
                },
            }
        ],
    }  # fmt: skip
    lines = programs({"compiled-h200": entry}, "gpu")
    assert "| ConvNet, batch 512, bf16: fx | 1,234 | 17 | 0 | 0 | 2.00 | 0.15 | 1.00 |" in lines
    assert lines[-2].endswith("| 1.00 | 0.10 | 0.50 |")
    assert programs({"compiled-h200": entry}, "cpu") == programs({}, "gpu") == []


@pytest.mark.skipif(importlib.util.find_spec("jax_plugins") is not None, reason="it may be there")
def test_without_the_plugin_it_says_what_to_install():
    with pytest.raises(
        SystemExit, match=r"no plugin for CUDA here; pip install '.\[bench,cuda13\]'"
    ):
        compiled.device()


def test_no_activation_is_moved_in_the_programs_of_networks_of_convolutions():
    """In what was published of the programs for an H200: fx's."""
    found = results.load()["compiled-h200"]["programs"]
    moved = {
        (each["network"], each["precision"]): each["contenders"]["fx"]["moved"]
        for each in found
        if each["network"] in ("ConvNet", "ResNet-18")
    }
    assert moved == dict.fromkeys(moved, 0) and len(moved) == 3
