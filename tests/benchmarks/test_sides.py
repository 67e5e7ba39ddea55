import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.networks.tasks import TINY
from benchmarks.shared import images, machine
from benchmarks.sides import loaders, torch_augment, torch_pipeline, torch_train


def test_batches_are_cifar_where_it_is_found_and_noise_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path))
    pictures, labels, data = images.batches(2, 3, seed=0)
    assert pictures.shape == (2, 3, 32, 32, 3) and pictures.dtype == np.uint8
    assert labels.shape == (2, 3) and data.startswith("noise")
    again, _, _ = images.batches(2, 3, seed=0)
    np.testing.assert_array_equal(pictures, again)

    record = np.concatenate([[7], np.repeat([10, 20, 30], 1024)]).astype(np.uint8)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(record.tobytes() * 4)
    pictures, labels, data = images.batches(2, 3, seed=0)
    assert data == "CIFAR-10" and (labels == 7).all()
    assert (pictures == [10, 20, 30]).all()
    assert images.batches(1, 2, seed=0, side=8)[0].shape == (1, 2, 8, 8, 3)


def test_the_machine_is_described_without_its_name():
    import platform

    described = machine.machine()
    assert described["cores"] >= 1 and platform.node() not in map(str, described.values())
    assert machine.versions()["jax"] != "not installed"
    assert machine.peak_resident_bytes() >= machine.resident_bytes() // 2 > 0


@pytest.mark.parametrize("name", ["fx_host", "fx_compiled"])
def test_loaders_give_whole_epochs(name):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 8, 8, 3), np.uint8)
    options = {"workers": 1} if name == "fx_host" else {"on_device": True}
    run = getattr(loaders, name)(pictures, np.arange(20, dtype=np.int32), 8, **options)
    shapes = run(0)
    assert [shape[0] for shape in shapes] == [8, 8, 4]
    assert set(map(tuple, shapes)) <= {(8, 8, 8, 3), (4, 8, 8, 3), (8, 3, 8, 8), (4, 3, 8, 8)}


def test_hue_is_that_of_colorsys():
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0] = 0.5  # gray has no hue
    shift = torch.tensor([0.1, -0.07]).view(2, 1, 1, 1)
    found = torch_augment.hue(x, shift)
    for n in range(2):
        for r, g, b in x[n].flatten(1).T.tolist():
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            expected = colorsys.hsv_to_rgb((h + shift[n].item()) % 1, s, v)
            place = (x[n].flatten(1) == torch.tensor([[r], [g], [b]])).all(0).nonzero()[0, 0]
            np.testing.assert_allclose(found[n].flatten(1)[:, place], expected, atol=1e-5)


def test_rotation_turns_about_the_centre():
    x = torch.arange(2 * 3 * 16, dtype=torch.float32).view(2, 3, 4, 4)
    quarter = torch_augment.rotate(x, torch.tensor([0.0, torch.pi / 2]))
    torch.testing.assert_close(quarter[0], x[0])
    torch.testing.assert_close(quarter[1], x[1].rot90(1, (1, 2)))
    assert torch_augment.augment(torch.rand(5, 3, 8, 8)).shape == (5, 3, 8, 8)


def test_the_usual_programs_images_are_floats_of_the_same_size():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    plain = torch_pipeline.Images(pictures, np.array([3, 4]), train=False)
    x, label = plain[1]
    mean, std = (np.array(v)[:, None, None] for v in (images.MEAN, images.STD))
    np.testing.assert_allclose(
        x.numpy() * std + mean, pictures[1].transpose(2, 0, 1) / 255, atol=1e-6
    )
    assert label == 4 and torch_pipeline.Images(pictures, [3, 4], True)[0][0].shape == (3, 32, 32)
    gray = Image.new("RGB", (4, 4), (90, 90, 90))
    assert np.array(torch_pipeline.hue(gray, -0.1)).tolist() == np.array(gray).tolist()


@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_the_twins_of_transformers_train(name):
    trainer = torch_train.Trainer(name, 2, "float32", tiny=True)
    assert trainer.run(1) == {"count": 2 * (TINY[name].length or 1)}


def test_the_arithmetic_of_a_step_is_counted():
    reference = torch_train.Reference("vit", 1, "float32", tiny=True)
    dim, places = 32, 5
    products = 2 * places * dim * (4 * dim + 8 * dim)  # of the layers of one block
    attention = 4 * places * places * dim
    assert reference.flops() > 3 * 2 * (products + attention)
