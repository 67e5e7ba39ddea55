"""The reference pipeline in PyTorch: as most people write it, and as fast as it goes."""

import random
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from benchmarks.networks.torch_convnet import ConvNet
from benchmarks.shared.images import MEAN, STD, batches
from benchmarks.sides import torch_augment
from benchmarks.sides.torch_train import device, device_name, set_precision


class Images(Dataset):
    """CIFAR-10 as torchvision has it: a PIL image at a time, through its transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, train: bool):
        self.images, self.labels, self.train = images, labels, train
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[i])
        if self.train:
            image = augmented(image)
        array = np.array(image)
        x = torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div(255)
        return (x - self.mean) / self.std, int(self.labels[i])


def augmented(image: Image.Image) -> Image.Image:
    """Flip, rotation, and the four jitters in a random order, as torchvision does them in PIL."""
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(random.uniform(-10, 10), Image.Resampling.NEAREST)
    jitters = [
        lambda x: ImageEnhance.Brightness(x).enhance(random.uniform(0.8, 1.2)),
        lambda x: ImageEnhance.Contrast(x).enhance(random.uniform(0.8, 1.2)),
        lambda x: ImageEnhance.Color(x).enhance(random.uniform(0.8, 1.2)),
        lambda x: hue(x, random.uniform(-0.1, 0.1)),
    ]
    random.shuffle(jitters)
    for jitter in jitters:
        image = jitter(image)
    return image


def hue(image: Image.Image, shift: float) -> Image.Image:
    h, s, v = image.convert("HSV").split()
    moved = np.array(h, np.uint8) + np.uint8(int(shift * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(moved, "L"), s, v)).convert("RGB")


class Program:
    """What both have in common: the network, Adam, the schedule, validation."""

    channels_last = False

    def __init__(self, images: int, batch: int, precision: str):
        self.device, self.settings = device_name(), set_precision(precision)
        self.batch, self.precision = batch, precision
        torch.manual_seed(0)
        inputs, labels, self.settings["data"] = batches(1, images + images // 4, seed=0)
        self.train_set = inputs[0, :images], labels[0, :images]
        self.valid_set = inputs[0, images:], labels[0, images:]
        self.count = len(inputs[0])
        self.model = ConvNet().to(device())
        if self.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        fused = self.channels_last and torch.cuda.is_available()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), 1e-3, weight_decay=1e-4, fused=fused or None
        )
        steps = 100 * -(-images // batch)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps, 1e-6)

    def autocast(self) -> torch.autocast:
        """A context in which products are bfloat16, where that is asked for."""
        return torch.autocast(device().type, torch.bfloat16, enabled=self.precision == "bf16")

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken, as the framework's allocator counts."""
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


class Usual(Program):
    """DataLoader with two workers and pin_memory, eager, contiguous."""

    def __init__(self, images: int, batch: int, precision: str):
        super().__init__(images, batch, precision)
        options: dict[str, Any] = {
            "num_workers": 2,
            "pin_memory": torch.cuda.is_available(),
            "multiprocessing_context": "fork",  # torch's own choice on Linux
            "persistent_workers": True,
        }
        self.loader = DataLoader(
            Images(*self.train_set, train=True), batch, shuffle=True, **options
        )
        self.valid_loader = DataLoader(Images(*self.valid_set, train=False), 500, **options)

    def run(self, epochs: int) -> dict[str, Any]:
        """Trains on from where it stands."""
        running = 0.0
        for _ in range(epochs):
            self.model.train()
            running = 0.0
            for inputs, labels in self.loader:
                inputs = inputs.to(device(), non_blocking=True)
                labels = labels.to(device(), non_blocking=True)
                self.optimizer.zero_grad()
                with self.autocast():
                    loss = cross_entropy(self.model(inputs), labels)
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                running += loss.item()
            self.evaluate()
        return {"count": self.count * epochs, "loss": running / len(self.loader)}

    @torch.no_grad()
    def evaluate(self) -> float:
        """Accuracy on the validation set."""
        self.model.eval()
        right = 0
        for inputs, labels in self.valid_loader:
            outputs = self.model(inputs.to(device(), non_blocking=True))
            right += (outputs.argmax(1).cpu() == labels).sum().item()
        return right / len(self.valid_set[1])


class Strongest(Program):
    """All data on the device as uint8, augmented there in batches, compiled, read once an epoch."""

    channels_last = True

    def __init__(self, images: int, batch: int, precision: str, mode: str):
        super().__init__(images, batch, precision)
        self.settings["torch.compile"] = mode
        self.x, self.y = self._moved(self.train_set)
        self.x_valid, self.y_valid = self._moved(self.valid_set)
        mean, std = (torch.tensor(v, device=device()).view(1, 3, 1, 1) for v in (MEAN, STD))

        def objective(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            x = images.permute(0, 3, 1, 2).float().div(255)  # [N, 3, H, W], channels last
            x = (torch_augment.augment(x) - mean) / std
            with self.autocast():
                return cross_entropy(self.model(x), labels)

        def predict(images: torch.Tensor) -> torch.Tensor:
            x = (images.permute(0, 3, 1, 2).float().div(255) - mean) / std
            with self.autocast():
                return self.model(x).argmax(1)

        # A shorter last batch is compiled as a second shape, not as any shape, which is slower.
        self.objective = torch.compile(objective, mode=mode, dynamic=False)
        self.predict = torch.compile(predict, mode=mode, dynamic=False)

    def run(self, epochs: int) -> dict[str, Any]:
        """Trains on from where it stands."""
        mean_loss = 0.0
        for _ in range(epochs):
            self.model.train()
            total = torch.zeros((), device=device())
            order = torch.randperm(len(self.x), device=device()).split(self.batch)
            for rows in order:
                torch.compiler.cudagraph_mark_step_begin()
                self.optimizer.zero_grad()
                loss = self.objective(self.x[rows], self.y[rows])
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                total += loss.detach()
            mean_loss = total.item() / len(order)
            self.evaluate()
        return {"count": self.count * epochs, "loss": mean_loss}

    @torch.no_grad()
    def evaluate(self) -> float:
        """Accuracy on the validation set."""
        self.model.eval()
        pairs = zip(self.x_valid.split(500), self.y_valid.split(500))
        right = sum((self.predict(x) == y).sum() for x, y in pairs)
        return int(right) / len(self.y_valid)

    def _moved(self, pair: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = pair
        return torch.from_numpy(images).to(device()), torch.from_numpy(labels).long().to(device())
