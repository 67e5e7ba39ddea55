"""`fx.functional` on the samples that PyTorch tests its own functions with.

They are of `torch.testing`, so nobody here chose them: for every public function of
`torch.nn.functional` that draws nothing, its values in float64, float16, bfloat16 and in integers,
its gradients in float64, and the arguments that it refuses.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from fx import functional as F

# torch warns of arguments that it deprecates.
pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore::UserWarning")]
NAMES = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear binary_cross_entropy
binary_cross_entropy_with_logits celu channel_shuffle conv1d conv2d conv3d conv_transpose1d
conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity cross_entropy ctc_loss elu
embedding embedding_bag gaussian_nll_loss gelu glu grid_sample group_norm hardshrink hardsigmoid
hardswish hardtanh hinge_embedding_loss huber_loss instance_norm interpolate kl_div l1_loss
layer_norm leaky_relu linear linear_cross_entropy local_response_norm logsigmoid margin_ranking_loss
max_pool1d max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d mish mse_loss
multi_head_attention_forward multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss
nll_loss normalize one_hot pad pairwise_distance pdist pixel_shuffle pixel_unshuffle
poisson_nll_loss prelu relu relu6 rms_norm scaled_dot_product_attention selu silu smooth_l1_loss
soft_margin_loss softmin softplus softshrink softsign tanhshrink threshold triplet_margin_loss
triplet_margin_with_distance_loss unfold upsample_bilinear upsample_nearest
""".split()
RANDOM = """
alpha_dropout dropout dropout2d dropout3d feature_alpha_dropout fractional_max_pool2d
fractional_max_pool3d rrelu
""".split()  # compared by their distributions, in files of their own
MOST = 120  # samples of a function in one dtype; of more these are spread evenly
RELATIVE = {
    torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 1.6e-2,  # two units
    torch.int64: 1e-5, torch.uint8: 1e-5,  # what is float32 of them
}  # fmt: skip


@pytest.fixture(scope="module")
def database():
    samples = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    found = {}
    for op in samples.op_db:
        head, _, name = op.name.rpartition(".")
        if head == "nn.functional":
            found.setdefault(name, []).append(op)
    return found


def test_no_function_is_left_out(database):
    assert sorted(database) == sorted([*NAMES, *RANDOM])


@pytest.mark.parametrize("name", NAMES)
def test_what_torch_gives_and_what_it_refuses(database, name, x64):
    # The chunked variant takes options that are torch's own.
    ops = [op for op in database[name] if "chunked" not in op.variant_test_name]
    for dtype in RELATIVE:
        able = [op for op in ops if dtype in op.dtypes]
        compared = sum(compare_samples(name, op, dtype) for op in able)
        # torch negates bytes as bytes, and -0 is not -256.
        assert compared or not able or (name, dtype) == ("softmin", torch.uint8)
    for op in ops:
        refuse_samples(name, op)
    jax.clear_caches()


def compare_samples(name, op, dtype):
    """Values and gradients of an operation; returns how many samples there were."""
    if (name, dtype) == ("softmin", torch.uint8):
        return 0
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=False))
    samples = samples[:: -(-len(samples) // MOST)]
    samples = [sample for sample in samples if not sample.kwargs.get("dropout_p")]  # random
    for sample in samples:
        compare(name, op.op, (sample.input, *sample.args), sample.kwargs, dtype)
    return len(samples)


def refuse_samples(name, op):
    """Arguments that torch refuses."""
    for error in op.error_inputs("cpu") if op.error_inputs_func else ():
        sample = error.sample_input
        args, kwargs = (sample.input, *sample.args), sample.kwargs
        try:
            op.op(*args, **kwargs)
        except Exception:
            with pytest.raises((TypeError, ValueError)):
                function(name)(*converted(args), **converted(kwargs))


def function(name):
    """Of fx, with its arguments as the samples have them: those of embeddings are turned."""
    found = getattr(F, name)
    if not name.startswith("embedding"):
        return found
    return lambda weight, indices, **kwargs: found(indices, weight, **kwargs)


def compare(name, theirs, args, kwargs, dtype):
    """One sample: both raise, or both give the same."""
    ours, what = function(name), f"{name}{described(args)}{described(kwargs)}"
    args, kwargs = (to_leaves(each, dtype == torch.float64) for each in (args, kwargs))
    try:
        expected = theirs(*args, **kwargs)
    except RuntimeError as error:
        if "not differentiable" not in str(error):
            with pytest.raises((TypeError, ValueError)):
                ours(*converted(args), **converted(kwargs))
            return
        args, kwargs = to_leaves(args, False), to_leaves(kwargs, False)
        expected = theirs(*args, **kwargs)
    try:
        found = ours(*converted(args), **converted(kwargs))
    except (TypeError, ValueError) as error:
        assert known(name, args, dtype, str(error)), f"{what}: {error}"
        return
    if name in ("batch_norm", "instance_norm") and isinstance(found, tuple):
        found = found[0]  # torch writes to the running statistics that are returned here
    expected, found = arrays(expected), jax.tree.leaves(found)
    exact = expected
    if dtype in (torch.float16, torch.bfloat16):
        exact = arrays(theirs(*wider(args), **wider(kwargs)))
    assert len(expected) == len(found), what
    for a, b, reference in zip(expected, found, exact, strict=True):
        hold(a, b, reference, RELATIVE.get(dtype, 0), name, what)
    differentiate(ours, args, kwargs, expected, what)


def hold(theirs, ours, exact, relative, name, what):
    """Shape, dtype, and an error of at most twice torch's own, or a share of the scale."""
    assert theirs.shape == ours.shape, f"{what}: {ours.shape}, in torch {tuple(theirs.shape)}"
    assert str(theirs.dtype)[6:] == str(ours.dtype), f"{what}: {ours.dtype}, not {theirs.dtype}"
    ours, theirs, exact = (np.asarray(each, np.float64) for each in
                           (ours, theirs.detach().double(), exact.detach().double()))  # fmt: skip
    sure = np.isfinite(exact)
    theirs = np.where(sure & ~np.isfinite(theirs), exact, theirs)  # overflows of half precision
    scale = max(np.abs(exact[sure]).max(initial=0.0), 1e-3)
    own = np.abs(theirs - exact)[sure & np.isfinite(theirs)].max(initial=0.0)
    # torch's fixed-point arithmetic for images of bytes: fx.functional.interpolate says so.
    bytes_ = 2 if name == "interpolate" and relative == RELATIVE[torch.uint8] else 0
    allowed = np.maximum(relative * np.maximum(scale, np.abs(exact)), 2 * own + bytes_)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs)), what
    off = np.where(np.isfinite(theirs), np.abs(ours - theirs) > allowed, ours != theirs)
    assert not (off & ~np.isnan(theirs)).any(), f"{what}: {np.abs(ours - theirs).max()} of {scale}"


def known(name, args, dtype, error):
    """What fx refuses and torch does not."""
    if "expected a floating input" in error:
        return not dtype.is_floating_point  # of integers
    # Of no channels' axis, and an empty stride, which stands for none.
    return (name == "batch_norm" and args[0].shape == (0,)) or (
        name == "avg_pool2d" and args[2] == ()
    )


def differentiate(ours, args, kwargs, expected, what):
    """The gradients of all that has one, in float64."""
    given, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda leaf: leaf is None)
    places = [n for n, leaf in enumerate(given) if getattr(leaf, "requires_grad", False)]
    with_one = [n for n, output in enumerate(expected) if output.requires_grad]
    if kwargs.get("sparse"):
        return  # a form of gradient that JAX has not
    if not with_one or len(places) != len({id(given[n]) for n in places}):
        return
    weights = [torch.randn_like(expected[n]) for n in with_one]
    leaves = [given[n] for n in places]
    theirs = torch.autograd.grad(
        [expected[n] for n in with_one], leaves, weights, allow_unused=True, materialize_grads=True
    )

    def loss(values):
        full = converted(given)
        for place, value in zip(places, values):
            full[place] = value
        args, kwargs = jax.tree.unflatten(tree, full)
        outputs = jax.tree.leaves(ours(*args, **kwargs))
        return sum((outputs[n] * converted(w)).sum() for n, w in zip(with_one, weights))

    found = jax.grad(loss)(converted(leaves))
    for place, a, b in zip(places, theirs, found, strict=True):
        hold(a, b, a, 1e-7, "", f"{what}: gradient {place}")


def mapped(function, value):
    """A function of all tensors in lists, tuples and dictionaries."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(mapped(function, each) for each in value)
    if isinstance(value, dict):
        return {name: mapped(function, each) for name, each in value.items()}
    return function(value)


def converted(value):
    def convert(leaf):
        if isinstance(leaf, torch.dtype):
            return jnp.dtype(str(leaf)[6:])
        if callable(leaf) and not isinstance(leaf, torch.Tensor):
            return (
                F.pairwise_distance
                if isinstance(leaf, torch.nn.Module)
                else getattr(F, leaf.__name__)
            )
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if leaf.dtype == torch.bfloat16:
            return jnp.asarray(leaf.detach().float().numpy(), jnp.bfloat16)
        return jnp.asarray(leaf.detach().numpy())

    return mapped(convert, value)


def to_leaves(value, gradient):
    def leaf(each):
        if not isinstance(each, torch.Tensor):
            return each
        return each.detach().clone().requires_grad_(gradient and each.is_floating_point())

    return mapped(leaf, value)


def wider(value):
    def widen(leaf):
        floating = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        return leaf.double() if floating else leaf

    return mapped(widen, value)


def arrays(value):
    return [value] if isinstance(value, torch.Tensor) else list(itertools.chain(value))


def described(value):
    def short(leaf):
        tensor = isinstance(leaf, torch.Tensor)
        return f"{str(leaf.dtype)[6:]}{list(leaf.shape)}" if tensor else leaf

    return str(mapped(short, value))
