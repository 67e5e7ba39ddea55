import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import fx
from fx import functional as F
from fx import nn, optim
from fx.optim.radam import _rectification
from tests.optim.problem import run_fx, run_torch

PAIRS = {
    "sgd": (optim.sgd, torch.optim.SGD),
    "adam": (optim.adam, torch.optim.Adam),
    "adamw": (optim.adamw, torch.optim.AdamW),
    "nadam": (optim.nadam, torch.optim.NAdam),
    "radam": (optim.radam, torch.optim.RAdam),
    "adamax": (optim.adamax, torch.optim.Adamax),
    "adagrad": (optim.adagrad, torch.optim.Adagrad),
    "adadelta": (optim.adadelta, torch.optim.Adadelta),
    "rmsprop": (optim.rmsprop, torch.optim.RMSprop),
    "rprop": (optim.rprop, torch.optim.Rprop),
    "asgd": (optim.asgd, torch.optim.ASGD),
    "adafactor": (optim.adafactor, torch.optim.Adafactor),
}

CASES = {
    "sgd momentum": {"lr": 0.01, "momentum": 0.9},
    "sgd dampening": {"lr": 0.01, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05},
    "sgd nesterov": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2},
    "sgd maximize": {"lr": 0.001, "momentum": 0.5, "weight_decay": 0.5, "maximize": True},
    "adam": {"lr": 0.01, "weight_decay": 0.1},
    "adam amsgrad": {"lr": 0.03, "betas": (0.8, 0.9), "amsgrad": True, "weight_decay": 0.01},
    "adam decoupled": {"lr": 0.01, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "adamw": {"lr": 0.02, "weight_decay": 0.3, "amsgrad": True, "maximize": True},
    "nadam": {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "momentum_decay": 0.05},
    "nadam decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    "radam": {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1},
    "radam decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    "radam untrusted": {"lr": 0.01, "betas": (0.8, 0.5), "eps": 1e-3},
    "adamax": {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1},
    "adagrad": {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "maximize": True},
    "adagrad initial": {"lr": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3},
    "adadelta": {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True},
    "rmsprop": {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    "rmsprop centered": {"lr": 0.005, "momentum": 0.7, "centered": True, "weight_decay": 0.1},
    "rprop": {"lr": 0.1, "etas": (0.6, 1.1), "step_sizes": (1e-3, 0.05), "maximize": True},
    "asgd": {"lr": 0.1, "lambd": 0.01, "alpha": 0.6, "t0": 20, "weight_decay": 0.1},
    "adafactor": {"lr": 0.02, "beta2_decay": -0.5, "eps": (1e-4, 1e-2), "d": 1.5},
    "adafactor decay": {"lr": 0.003, "weight_decay": 0.1, "maximize": True},
}
SCHEDULED = {"sgd dampening", "adam decoupled", "nadam", "adagrad", "rprop", "asgd", "adafactor"}


def sample(cases, *kept):
    """All cases, marked as full except for those kept."""
    return [c if c in kept else pytest.param(c, marks=pytest.mark.full) for c in cases]


def assert_equal_to_torch(params, expected, tolerance=1e-10):
    for part in expected:
        np.testing.assert_allclose(params[part], expected[part], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", sample(PAIRS, "radam"))
def test_a_hundred_steps_with_defaults_equal_torchs(x64, name):
    ours, theirs = PAIRS[name]
    params, _, rates = run_fx(ours())
    expected, _, torch_rates = run_torch(theirs)
    assert_equal_to_torch(params, expected)
    np.testing.assert_allclose(rates, torch_rates, rtol=1e-15)


@pytest.mark.parametrize("name", sample(CASES, *(name for name in CASES if " " not in name)))
def test_a_hundred_steps_equal_torchs(x64, name):
    ours, theirs = PAIRS[name.split()[0]]
    arguments = dict(CASES[name])
    lr, scheduler = arguments.pop("lr", None), None
    if name in SCHEDULED:
        floor = lr / 10
        scheduler = lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, floor)
        optimizer = ours(optim.cosine_annealing_lr(lr, T_max=40, eta_min=floor), **arguments)
    else:
        optimizer = ours(**arguments) if lr is None else ours(lr, **arguments)
    params, opt_state, rates = run_fx(optimizer)
    expected, torch_optimizer, torch_rates = run_torch(
        lambda params: theirs(params, **CASES[name]), scheduler=scheduler
    )
    # Past the cosine's end torch's recursion strays from the closed form, by 1e-14.
    np.testing.assert_allclose(rates, torch_rates, rtol=1e-12)
    assert optim.current_lr(opt_state) == rates[-1]
    assert_equal_to_torch(params, expected)
    if name == "asgd":
        average = optax.tree_utils.tree_get(opt_state, "ax")
        theirs = [torch_optimizer.state[p]["ax"] for p in torch_optimizer.param_groups[0]["params"]]
        assert_equal_to_torch(average, dict(zip(expected, theirs)))


@pytest.mark.parametrize("name", sample(PAIRS, "adamw", "rprop", "asgd", "adafactor"))
def test_thirty_two_learning_rates_at_once_in_float32(name):
    ours, theirs = PAIRS[name]
    rates = jnp.linspace(1e-3, 2e-2, 32)
    params, _, last = jax.vmap(lambda lr: run_fx(ours(lr), steps=30))(rates)
    np.testing.assert_allclose(last[:, -1], rates)
    for i in (0, 31):
        lr = float(rates[i])
        expected, _, _ = run_torch(lambda p: theirs(p, lr), steps=30, dtype=torch.float32)
        assert_equal_to_torch(jax.tree.map(lambda a: a[i], params), expected, 2e-5)


@pytest.mark.parametrize("name", [*PAIRS, "muon", "lbfgs"])
def test_arguments_have_torchs_names_order_and_defaults(name):
    ours, theirs = (
        PAIRS.get(name)
        or {
            "muon": (optim.muon, torch.optim.Muon),
            "lbfgs": (optim.lbfgs, torch.optim.LBFGS),
        }[name]
    )

    def arguments(function, skip, kinds):
        parameters = list(inspect.signature(function).parameters.values())[skip:]
        implementation = ("foreach", "capturable", "differentiable", "fused", "ns_dtype")
        kept = [p for p in parameters if p.kind in kinds and p.name not in implementation]
        return {p.name: p.default for p in kept}

    parameter = inspect.Parameter
    every = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    assert arguments(ours, 0, every) == arguments(theirs, 1, every)
    mine, its = arguments(ours, 0, every[:1]), arguments(theirs, 1, every[:1])
    assert list(mine) == [name for name in its if name != "maximize"]


VARIANTS = {
    **{name: ours for name, (ours, _) in PAIRS.items()},
    "sgd dampened": lambda: optim.sgd(0.1, 0.9, 0.1, weight_decay=0.1),
    "adam amsgrad": lambda: optim.adam(amsgrad=True),
    "adagrad decayed": lambda: optim.adagrad(lr_decay=0.1),
    "rmsprop centered": lambda: optim.rmsprop(momentum=0.9, centered=True),
    "adafactor decayed": lambda: optim.adafactor(weight_decay=0.1),
}


@pytest.mark.parametrize("dtype", sample([jnp.bfloat16, jnp.float16, jnp.float32], jnp.bfloat16))
@pytest.mark.parametrize("name", VARIANTS)
def test_any_tree_of_any_float_dtype_keeps_shapes_and_dtypes(name, dtype):
    shapes = {"a": ((3, 2), (2, 3, 4)), "b": [(), (0, 3), {"c": (5,)}], "none": ()}
    is_shape = lambda x: isinstance(x, tuple) and all(isinstance(n, int) for n in x)
    params = jax.tree.map(lambda s: jnp.ones(s, dtype), shapes, is_leaf=lambda x: is_shape(x))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), VARIANTS[name]())

    def step(params):
        state = optimizer.init(params)
        return state, optimizer.update(params, state, params)

    kind = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    state, (updates, after) = jax.eval_shape(step, params)
    assert kind(updates) == kind(params)
    assert kind(after) == kind(state)


@pytest.mark.parametrize("name", sample(VARIANTS, "radam", "asgd", "adafactor", "adam amsgrad"))
def test_a_training_step_takes_it(name):
    model = nn.Linear(3, 2)
    step = fx.train.make_step(model, F.mse_loss, VARIANTS[name]())
    ts = fx.train.create(model, step.optimizer, jax.random.key(0))
    after, metrics = jax.eval_shape(step.function, ts, (jnp.ones((4, 3)), jnp.ones((4, 2))))
    assert jax.tree.structure(after) == jax.tree.structure(ts)
    assert metrics["learning_rate"].shape == ()


@pytest.mark.parametrize("name", sample(PAIRS, "nadam"))
def test_derivatives_pass_through_an_optimizer(name):
    """Of the last weights with respect to the learning rate, against differences."""
    ours = PAIRS[name][0]

    @jax.jit
    def total(lr):
        params, _, _ = run_fx(ours(lr), steps=3)
        return sum(jnp.sum(p) for p in params.values())

    with jax.enable_x64(True):
        step = 1e-6
        differences = (total(0.02 + step) - total(0.02 - step)) / (2 * step)
        np.testing.assert_allclose(jax.grad(total)(0.02), differences, rtol=1e-5)


def test_radams_decision_is_exact_in_float32():
    """In float32 the formula as written loses the lengths close to 5."""
    for b2 in (0.9, 0.99, 0.999, 0.9999, 0.99999):
        step = np.arange(1, 3000)
        power = np.asarray(b2, np.longdouble) ** step
        longest = 2 / (1 - np.longdouble(b2)) - 1
        length = longest - 2 * step * power / (1 - power)
        trusted, scale = _rectification(b2, jnp.asarray(step, jnp.float32))
        np.testing.assert_array_equal(trusted, length > 5)
        power, length, scale = power[length > 5], length[length > 5], scale[length > 5]
        ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        expected = np.sqrt(ratio * (1 - power)).astype(np.float64)
        # Just above 5, length - 4 has lost a bit or three.
        np.testing.assert_allclose(scale, expected, rtol=3e-5)


def test_momentum_may_be_scheduled(x64):
    """As torch's OneCycleLR does to SGD's momentum and to Adam's first beta."""
    cycle = {"max_lr": 0.02, "total_steps": 60}
    lr, momentum = optim.one_cycle_lr(**cycle), optim.one_cycle_momentum(total_steps=60)
    optimizers = {
        torch.optim.SGD: optax.inject_hyperparams(optim.sgd)(lr=lr, momentum=momentum),
        torch.optim.Adam: optax.inject_hyperparams(lambda b1: optim.adam(lr, (b1, 0.999)))(
            b1=momentum
        ),
    }
    for theirs, optimizer in optimizers.items():
        arguments = {"momentum": 0.9} if theirs is torch.optim.SGD else {}
        params, _, _ = run_fx(optimizer, steps=60)
        expected, _, _ = run_torch(
            lambda p: theirs(p, 0.1, **arguments),
            steps=60,
            scheduler=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, **cycle),
        )
        assert_equal_to_torch(params, expected)


def test_weight_decay_may_be_mapped_over():
    def first_update(weight_decay):
        optimizer = optim.adamw(1.0, weight_decay=weight_decay)
        params = jnp.full(3, 2.0)
        return optimizer.update(jnp.ones(3), optimizer.init(params), params)[0]

    updates = jax.vmap(first_update)(jnp.asarray([0.0, 0.25]))
    np.testing.assert_allclose(updates[:, 0], [-1.0, -1.5], rtol=1e-5)


def test_the_rate_before_the_first_step_is_that_of_the_first():
    for make in (optim.sgd, optim.rprop, optim.asgd, optim.adafactor, optim.lbfgs):
        state = make(lambda step: 0.25 + step).init({"w": jnp.ones(2)})
        assert float(optim.current_lr(state)) == 0.25


def test_current_lr_of_other_optimizers():
    params = {"learning_rate": jnp.ones(()), "w": jnp.ones(2)}
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=optim.step_lr(0.5, 3))
    assert float(optim.current_lr(injected.init(params))) == 0.5
    assert optim.current_lr(optax.adam(0.1).init(params)) is None
    groups = optax.partition(
        {"slow": optim.sgd(0.125), "fast": optim.adam(0.5)},
        {"learning_rate": "slow", "w": "fast"},
    )
    assert float(optim.current_lr(groups.init(params))) in (0.125, 0.5)
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optim.asgd(0.5))
    assert float(optim.current_lr(clipped.init(params))) == 0.5


def update_without_params(make):
    return make().update(jnp.ones(2), make().init(jnp.ones(2)))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.sgd(-1.0), "sgd: expected lr >= 0, got -1.0"),
        (lambda: optim.sgd(0.1, momentum=-0.5), "sgd: expected momentum >= 0, got -0.5"),
        (lambda: optim.sgd(0.1, nesterov=True), "expected momentum > 0 and dampening == 0"),
        (lambda: optim.sgd(0.1, 0.9, 0.1, nesterov=True), "got momentum=0.9 and dampening=0.1"),
        (lambda: optim.adam(0.1, (0.9, 1.0)), r"adam: expected betas in \[0, 1\), got \(0.9, 1.0"),
        (lambda: optim.adam(0.1, eps=-1.0), "adam: expected eps >= 0, got -1.0"),
        (lambda: optim.adamw(weight_decay=-1.0), "adamw: expected weight_decay >= 0, got -1.0"),
        (lambda: optim.nadam(momentum_decay=-1.0), "nadam: expected momentum_decay >= 0, got -1"),
        (lambda: optim.radam(betas=(-0.1, 0.9)), r"radam: expected betas in \[0, 1\), got \(-0.1"),
        (lambda: optim.adamax(eps=-1.0), "adamax: expected eps >= 0, got -1.0"),
        (lambda: optim.adagrad(lr_decay=-1.0), "adagrad: expected lr_decay >= 0, got -1.0"),
        (
            lambda: optim.adagrad(initial_accumulator_value=-1.0),
            "adagrad: expected initial_accumulator_value >= 0, got -1.0",
        ),
        (lambda: optim.adadelta(rho=1.5), r"adadelta: expected rho in \[0, 1\], got 1.5"),
        (lambda: optim.rmsprop(alpha=float("nan")), "rmsprop: expected alpha >= 0, got nan"),
        (lambda: optim.rprop(etas=(1.1, 1.2)), r"rprop: expected 0 < etas\[0\] < 1 < etas\[1\]"),
        (lambda: optim.asgd(weight_decay=-1.0), "asgd: expected weight_decay >= 0, got -1.0"),
        (lambda: update_without_params(optim.asgd), "asgd: expected the parameters, got None"),
        (lambda: optim.adafactor(beta2_decay=0.5), "adafactor: expected beta2_decay <= 0, got 0.5"),
        (lambda: optim.adafactor(d=0.5), "adafactor: expected d >= 1, got 0.5"),
        (lambda: optim.adafactor(eps=(-1.0, 1.0)), r"adafactor: expected eps\[0\] >= 0, got -1.0"),
        (lambda: update_without_params(optim.adafactor), "adafactor: expected the parameters"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_text_is_no_number():
    with pytest.raises(TypeError, match="adam: expected lr to be a number, got 'a'"):
        optim.adam("a")


def test_what_torch_writes_is_answered():
    text = "adam: expected lr to be a number or a schedule, got a dict; parameters come later: opt"
    with pytest.raises(TypeError, match=text):
        optim.adam({"weight": jnp.ones(2)}, 1e-3)
    with pytest.raises(AttributeError, match="'SGD'; in fx it is the function optim.sgd"):
        optim.SGD  # noqa: B018
    with pytest.raises(AttributeError, match="the function optim.reduce_lr_on_plateau"):
        optim.ReduceLROnPlateau  # noqa: B018
    with pytest.raises(AttributeError, match=r"'lr_scheduler'; its schedules are functions of the"):
        optim.lr_scheduler  # noqa: B018
    with pytest.raises(AttributeError, match="'swa_utils'; averages are optim.with_ema"):
        optim.swa_utils  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'lion'$"):
        optim.lion  # noqa: B018
    backwards = optim.step_lr(optim.sgd(0.1), 30)
    with pytest.raises(TypeError, match="got an optimizer; here an optimizer takes the schedule"):
        optim.sgd(backwards).init(jnp.ones(2))
