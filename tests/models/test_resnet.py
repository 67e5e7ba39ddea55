"""ResNets beside a twin in plain PyTorch, and torchvision's names."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.interop.state_dict import entries
from fx.models import BasicBlock, Bottleneck, ResNet
from tests.models import torch_twins

NAMES = json.loads((Path(__file__).parent / "torchvision_names.json").read_text())
FORMS = {
    "basic, small images": (False, [1, 1, 1, 1], True),
    "bottleneck, usual stem": (True, [2, 1, 1, 1], False),
}


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_names_and_shapes_are_torchvisions(name):
    ours = [(entry.name, list(entry.shape)) for entry in entries(getattr(fx.models, name)())]
    assert ours == list(NAMES[name].items())


def pair(deep, layers, small):
    """In float64, because a BatchNorm over few values makes much of rounding."""
    torch.manual_seed(0)
    twin = torch_twins.ResNet(deep, layers, 7, small).double()
    for name, value in (*twin.named_parameters(), *twin.named_buffers()):
        if "bn" in name and value.is_floating_point():
            value.data += 0.2 * torch.rand(value.shape)
    block = Bottleneck if deep else BasicBlock
    model = ResNet(block, layers, 7, small_images=small)
    return model, twin, fx.load_state_dict(model, twin.state_dict(), dtype=np.float64)


@pytest.mark.parametrize("form", FORMS)
def test_logits_are_the_twins(form, x64):
    model, twin, (params, state) = pair(*FORMS[form])
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    with torch.no_grad():
        expected = twin.eval()(torch.from_numpy(x)).numpy()
    logits = jax.jit(model.apply)(params, state, x)[0]
    np.testing.assert_allclose(logits, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    "form", ["basic, small images", pytest.param("bottleneck, usual stem", marks=pytest.mark.full)]
)
@pytest.mark.full
def test_gradients_are_the_twins(form, x64):
    model, twin, (params, state) = pair(*FORMS[form])
    x = np.random.default_rng(0).normal(size=(4, 3, 16, 16) if FORMS[form][2] else (2, 3, 64, 64))
    weights = np.random.default_rng(1).normal(size=(len(x), 7))

    @jax.jit
    @jax.grad
    def grads_of(params):
        return (model.apply(params, state, x, train=True)[0] * weights).sum()

    (twin.train()(torch.from_numpy(x)) * torch.from_numpy(weights)).sum().backward()
    found = fx.state_dict(model, grads_of(params))
    for name, p in twin.named_parameters():
        error = np.linalg.norm(found[name] - p.grad.numpy()) / np.linalg.norm(p.grad.numpy())
        assert error < 1e-8, name


def test_initial_weights_are_torchvisions():
    model = ResNet(Bottleneck, [1, 1, 1, 1], 7, zero_init_residual=True, small_images=True)
    weight = model.layer3[0].conv2.weight
    assert weight.init == nn.init.kaiming_normal(mode="fan_out", nonlinearity="relu")
    assert model.layer3[0].bn3.weight.init == nn.init.zeros
    assert model.layer3[0].bn2.weight.init == nn.init.ones


def test_options():
    dilated = ResNet(
        Bottleneck, [1, 2, 1, 1], groups=2, width_per_group=32,
        replace_stride_with_dilation=[False, True, True],
    )  # fmt: skip
    assert dilated.layer3[0].conv2.dilation == (1, 1) and dilated.layer4[0].conv2.dilation == (2, 2)
    assert dilated.layer4[0].conv2.stride == (1, 1) and dilated.layer2[0].conv2.groups == 2
    grouped = fx.models.resnet18(norm_layer=lambda c: nn.GroupNorm(8, c))
    assert isinstance(grouped.layer1[0].bn1, nn.GroupNorm)
    with pytest.raises(ValueError, match="BasicBlock: expected groups=1, base_width=64"):
        fx.models.resnet18(groups=2)
    with pytest.raises(ValueError, match="to have three values"):
        fx.models.resnet50(replace_stride_with_dilation=[True])
