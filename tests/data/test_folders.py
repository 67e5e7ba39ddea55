import numpy as np
import pytest

from fx.data import Loader, ReadError, image_folder, memory_mapped, random_split

Image = pytest.importorskip("PIL.Image")


def write(root, name, size=(8, 6), seed=0, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def test_a_folder_for_each_class(tmp_path):
    first = write(tmp_path, "b/1.png")
    deep = write(tmp_path, "a/deep/2.PNG", seed=1)
    write(tmp_path, "a/3.png", seed=2)
    (tmp_path / "a/readme.txt").write_text("no image")
    (tmp_path / "list.txt").write_text("no class")
    data = image_folder(tmp_path)
    assert data.classes == ("a", "b") and data.files == ("a/3.png", "a/deep/2.PNG", "b/1.png")
    images, labels = data.take(np.array([2, 1]))
    np.testing.assert_array_equal(images, np.stack([first, deep]))
    assert labels.tolist() == [1, 0] and labels.dtype == np.int32 and images.dtype == np.uint8
    loader = Loader(data, 2, workers=2, shuffle=False)
    np.testing.assert_array_equal(list(loader.epoch(0))[1][0], first[None])
    train, valid = random_split(data, (2, 1))
    assert len(train.targets) == 2 and valid.classes == ("a", "b")


def test_gray_has_one_channel_and_rgb_drops_alpha(tmp_path):
    (tmp_path / "c").mkdir()
    Image.new("RGBA", (4, 4), (10, 20, 30, 128)).save(tmp_path / "c/1.png")
    assert image_folder(tmp_path).example(0)[0][0, 0].tolist() == [10, 20, 30]
    assert image_folder(tmp_path, mode="L").take(np.array([0]))[0].shape == (1, 4, 4, 1)


def test_photographs_are_upright_as_a_bundle_sees_them(tmp_path):
    from fx.deploy.image import as_row

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    write(tmp_path, "c/1.png", (8, 6), exif=exif)
    pixels, _ = image_folder(tmp_path).example(0)
    assert pixels.shape == (8, 6, 3)
    spec = {"shape": [None, 8, 6, 3], "dtype": "uint8"}
    np.testing.assert_array_equal(pixels, as_row(tmp_path / "c/1.png", spec))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_more_than_8_bits_are_not_clipped(dtype, tmp_path):
    (tmp_path / "c").mkdir()
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(tmp_path / "c/1.tiff")
    with pytest.raises(ValueError, match="c/1.tiff .* more than 8 bits a channel"):
        image_folder(tmp_path).example(0)


@pytest.mark.parametrize("size", [(5, 9), 4])
def test_sizes_are_pillows(tmp_path, size):
    write(tmp_path, "c/wide.png", (20, 10))
    write(tmp_path, "c/tall.png", (9, 30), seed=1)
    images, _ = image_folder(tmp_path, size).take(np.array([0, 1]))
    for found, name in zip(images, ("tall", "wide")):
        with Image.open(tmp_path / f"c/{name}.png") as image:
            if isinstance(size, tuple):
                expected = image.resize((9, 5), Image.Resampling.BILINEAR)
            elif name == "wide":
                expected = image.resize((8, 4), Image.Resampling.BILINEAR).crop((2, 0, 6, 4))
            else:
                expected = image.resize((4, 13), Image.Resampling.BILINEAR).crop((0, 4, 4, 8))
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path, "c/1.png", (60, 60))
    write(tmp_path, "c/2.png", (60, 60))
    whole = (tmp_path / "c/2.png").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not an image", b""):
        (tmp_path / "c/2.png").write_bytes(damaged)
        batches = Loader(image_folder(tmp_path), 1, shuffle=False).epoch(0)
        next(batches)
        text = r"reading sample 1 \(.*c/2.png\) failed with ValueError: .*c/2.png cannot be decoded"
        with pytest.raises(ReadError, match=text):
            next(batches)


def test_images_of_different_sizes_need_one(tmp_path):
    write(tmp_path, "c/1.png", (8, 6))
    write(tmp_path, "c/2.png", (8, 7))
    text = r"images of one size, got \[6, 8, 3\] in c/1.png and \[7, 8, 3\] in c/2.png; give size="
    with pytest.raises(ValueError, match=text):
        image_folder(tmp_path).take(np.array([0, 1]))


def test_the_fingerprint_tells_folders_apart(tmp_path):
    write(tmp_path, "c/1.png")
    prints = [image_folder(tmp_path).fingerprint(), image_folder(tmp_path, 4).fingerprint()]
    assert prints[0] == image_folder(tmp_path).fingerprint()
    write(tmp_path, "c/1.png", (9, 9))
    prints.append(image_folder(tmp_path).fingerprint())
    write(tmp_path, "c/2.png")
    prints.append(image_folder(tmp_path).fingerprint())
    assert len(set(prints)) == 4


def test_wrong_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder .*none, and there is none"):
        image_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="expected a folder for each class in"):
        image_folder(tmp_path)
    (tmp_path / "c").mkdir()
    with pytest.raises(
        FileNotFoundError, match="expected images in .*c, and there is none with an"
    ):
        image_folder(tmp_path)
    with pytest.raises(ValueError, match='expected mode "RGB" or "L", got .CMYK.'):
        image_folder(tmp_path, mode="CMYK")
    for size in (0, (4,), (0, 4)):
        with pytest.raises(ValueError, match=r"expected size \(height, width\) of 1 or more, got"):
            image_folder(tmp_path, size)


def test_mapped_files_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0, dtype=np.float32).reshape(6, 2))
    np.save(tmp_path / "y.npy", np.arange(6))
    data = memory_mapped({"a": tmp_path / "x.npy"}, tmp_path / "y.npy", ("c",))
    assert isinstance(data.inputs["a"], np.memmap) and data.classes == ("c",)
    inputs, targets = next(Loader(data, 3, shuffle=False).epoch(0))
    assert inputs["a"].tolist() == [[0, 1], [2, 3], [4, 5]] and targets.tolist() == [0, 1, 2]


def test_files_that_cannot_be_mapped(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(6))
    good = tmp_path / "y.npy"
    with pytest.raises(FileNotFoundError, match="expected the file .*x.npy, and there is none"):
        memory_mapped(tmp_path / "x.npy", good)
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    (tmp_path / "half.npy").write_bytes(good.read_bytes()[:-8])
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_text("")
    for name in ("objects", "half", "text", "empty"):
        with pytest.raises(ValueError, match=rf"memory_mapped: .*{name}.npy cannot be mapped"):
            memory_mapped(tmp_path / f"{name}.npy", good)
    np.savez(tmp_path / "many.npz", a=np.ones(2))
    with pytest.raises(ValueError, match="to be one array .*, got an archive; write its arrays"):
        memory_mapped(tmp_path / "many.npz", good)
