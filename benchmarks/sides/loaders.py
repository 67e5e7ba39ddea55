"""The contenders of benchmarks.loader: what gives batches, each in a process of its own.

Each function returns a function that goes through one epoch, waiting for every batch, and gives
the batches' shapes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.shared.images import MEAN, STD, batches

Epoch = Callable[[int], Any]
PADDING = 4


class Epochs:
    """A contender.

    Args:
        function: a name of this module.
        images: how many an epoch has.
        batch: how many a batch has.
        options: of the function.
    """

    def __init__(self, function: str, images: int, batch: int, **options: Any):
        inputs, labels, data = batches(1, images, seed=0)
        self._epoch = globals()[function](inputs[0], labels[0], batch, **options)
        self.device, self.settings, self._count = "host", {"data": data}, images

    def run(self, epoch: int) -> dict[str, Any]:
        """Goes through an epoch."""
        shapes = self._epoch(epoch)
        assert sum(shape[0] for shape in shapes) == self._count, "images are missing"
        return {"count": self._count}


def torch_loader(images: np.ndarray, labels: np.ndarray, batch: int, to_float: bool) -> Epoch:
    """The usual: an image at a time, two worker processes. torchvision's pipeline in plain tensors.

    The images lie ready as [C, H, W] tensors; decoding is not measured.
    """
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __init__(self) -> None:
            self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
            self.labels = torch.from_numpy(labels).long()
            self.mean, self.std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> tuple[Any, Any]:
            image = self.images[i]
            size = image.shape[1]
            image = torch.nn.functional.pad(image, (PADDING,) * 4)
            top, left = torch.randint(0, 2 * PADDING + 1, (2,)).tolist()
            image = image[:, top : top + size, left : left + size]
            if torch.rand(()) < 0.5:
                image = image.flip(-1)
            if to_float:
                image = (image.float() / 255 - self.mean) / self.std
            return image, self.labels[i]

    loader = DataLoader(
        Images(),
        batch,
        shuffle=True,
        num_workers=2,
        multiprocessing_context="fork",  # torch's own choice on Linux; JAX is not in this process
        persistent_workers=True,
        generator=torch.Generator().manual_seed(0),
    )
    return lambda epoch: [x.shape for x, _ in loader]


def fx_host(images: np.ndarray, labels: np.ndarray, batch: int, workers: int) -> Epoch:
    """Whole batches on the host, handed to the device as uint8."""
    import jax

    from fx.data import Dataset, Loader, host

    def augment(batch: Any, rng: np.random.Generator) -> Any:
        inputs, targets = batch
        inputs = host.random_crop(inputs, rng, inputs.shape[1], padding=PADDING)
        return host.random_horizontal_flip(inputs, rng), targets

    data = Dataset(images, labels)
    loader = Loader(data, batch, batch_transform=augment, workers=workers, prefetch=2 * workers)
    return lambda epoch: [jax.block_until_ready(x).shape for x, _ in loader.epoch(epoch)]


def fx_compiled(images: np.ndarray, labels: np.ndarray, batch: int, on_device: bool) -> Epoch:
    """Compiled on the device: floats, crop, flip, normalised, as a training step has them."""
    import jax

    from fx.data import Dataset, Loader, transforms

    size = images.shape[1]
    transform = transforms.Compose(
        (
            transforms.ToTensor(),
            transforms.RandomCrop(size, padding=PADDING),
            transforms.RandomHorizontalFlip(),
            transforms.Normalize(MEAN, STD),
        )
    )
    apply = jax.jit(lambda x, seed: transform(x, jax.random.key(seed)))
    loader = Loader(Dataset(images, labels), batch, on_device=on_device)

    def run(epoch: int) -> Any:
        batches = enumerate(loader.epoch(epoch))
        return [jax.block_until_ready(apply(x, step)).shape for step, (x, _) in batches]

    return run


def grain_images(images: np.ndarray, labels: np.ndarray, batch: int) -> Epoch:
    """An image at a time, on grain's own threads, in NumPy."""
    import grain

    from fx.data import from_grain, host

    class Augment(grain.transforms.RandomMap):
        def random_map(self, element: Any, rng: np.random.Generator) -> Any:
            image, label = element
            image = host.random_crop(image[None], rng, image.shape[0], padding=PADDING)
            return host.random_horizontal_flip(image, rng)[0], label

    rows = grain.MapDataset.range(len(images)).seed(0).shuffle()
    pipeline = rows.map(lambda i: (images[i], labels[i])).random_map(Augment()).batch(batch)
    loader = from_grain(pipeline.to_iter_dataset(), length=len(pipeline))
    return _all(loader)


def grain_batches(images: np.ndarray, labels: np.ndarray, batch: int) -> Epoch:
    """The numbers of batches as a pipeline of grain, with a function of whole batches."""
    import grain

    from fx.data import from_grain, host
    from fx.data.splits import permutation

    class Augment(grain.transforms.RandomMap):
        def random_map(self, element: Any, rng: np.random.Generator) -> Any:
            rows = order[element * batch : (element + 1) * batch]
            inputs = host.random_crop(images[rows], rng, images.shape[1], padding=PADDING)
            return host.random_horizontal_flip(inputs, rng), labels[rows]

    order = permutation(len(images), 0)
    pipeline = grain.MapDataset.range(-(-len(images) // batch)).seed(0).random_map(Augment())
    return _all(from_grain(pipeline, workers=2, prefetch=4))


def _all(loader: Any) -> Epoch:
    import jax

    return lambda epoch: [jax.block_until_ready(x).shape for x, _ in loader.epoch(epoch)]
