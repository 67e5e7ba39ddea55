"""Descriptions: what they refuse, how they compare, ties, containers that grow."""

import copy
import functools
import inspect
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import nn
from tests.nn.parts import Counter, Dense, Net, Noise

KEY = jax.random.key(0)
X = jnp.ones((5, 3))


# ---- what a description refuses


def test_names_of_the_contract_cannot_be_taken():
    class Bad(nn.Module):
        def __init__(self, name):
            setattr(self, name, 1)

    for name in ("init", "apply", "forward", "functional"):
        with pytest.raises(ValueError, match=f"Bad: an attribute called '{name}' would shadow"):
            Bad(name)
    with pytest.raises(ValueError, match="expected a name without dots, got 'a.b'"):
        Bad("a.b")
    with pytest.raises(TypeError, match="Worse.apply would replace Module.apply"):
        type("Worse", (nn.Module,), {"apply": lambda self: 0})


@pytest.mark.parametrize(
    "make, right",
    [
        (lambda: [Dense(1, 1)], "ModuleList"),
        (lambda: (Dense(1, 1),), "ModuleList"),
        (lambda: {"a": Dense(1, 1)}, "ModuleDict"),
        (lambda: [nn.Parameter((1,), nn.init.zeros)], "ModuleList"),
        (lambda: [[Dense(1, 1)]], "ModuleList"),
    ],
)
def test_a_plain_collection_of_modules_raises(make, right):
    class Bad(nn.Module):
        def __init__(self):
            self.parts = make()

    with pytest.raises(TypeError, match=f"Bad.parts: a plain .* whose weights .* use nn.{right}"):
        Bad()


@pytest.mark.parametrize("array", [np.ones(2), jnp.ones(2)])
def test_a_raw_array_is_refused(array):
    class Bad(nn.Module):
        def __init__(self):
            self.mask = array

    with pytest.raises(TypeError, match=r"Bad.mask: .* raw array; declare self.mask = nn.Buffer"):
        Bad()


def test_an_unhashable_value_is_refused():
    class Bad(nn.Module):
        def __init__(self):
            self.thing = bytearray(b"x")

    with pytest.raises(TypeError, match="Bad.thing: expected a hashable value"):
        Bad()


class Plain(nn.Module):
    def __init__(self):
        self.sizes, self.options, self.kind = [1, [2, 3]], {"a": [1]}, np.float32


def test_lists_become_tuples_and_dicts_freeze():
    plain = Plain()
    assert plain.sizes == (1, (2, 3)) and plain.options == {"a": (1,)}
    assert hash(plain) == hash(Plain()) and pickle.loads(pickle.dumps(plain)) == plain
    with pytest.raises(TypeError, match="cannot be changed"):
        plain.options["b"] = 1


def test_the_same_object_in_two_slots_raises_unless_tied():
    class Shared(nn.Module):
        def __init__(self, tied):
            self.a = Dense(2, 2)
            self.b = self.a
            if tied:
                nn.tie(self, "b", "a")

        def forward(self, x):
            return self.b(self.a(x))

    with pytest.raises(ValueError, match='same Dense stands in "a" and "b".*nn.tie'):
        Shared(False)
    params, state = Shared(True).init(KEY)
    assert set(params) == {"a"}
    assert list(fx.state_dict(Shared(True), params)) == ["a.weight", "a.bias", "b.weight", "b.bias"]


def test_parts_that_a_list_shares_are_tied_by_its_owner():
    class Shared(nn.Module):
        def __init__(self, tied):
            one = Dense(2, 2)
            self.steps = nn.ModuleList([nn.Sequential(one), nn.Sequential(one)])
            if tied:
                nn.tie(self, "steps.1.0", "steps.0.0")

    with pytest.raises(ValueError, match='Shared: the same Dense stands in "steps.0.0" and "steps'):
        Shared(False)
    assert list(Shared(True).init(KEY)[0]["steps"]) == ["0"]

    class Before(nn.Module):  # the alias comes before what it is one of
        def __init__(self):
            self.heads = nn.ModuleList([Dense(2, 2)])
            self.head_0 = self.heads[0]
            nn.tie(self, "heads.0", "head_0")

    assert list(Before().init(KEY)[0]) == ["head_0"]
    one = Dense(2, 2)
    with pytest.raises(ValueError, match='ModuleList: the same Dense stands in "0" and "1"'):
        nn.ModuleList([one, one]).init(KEY)


def test_parameterless_objects_may_be_shared():
    class Shared(nn.Module):
        def __init__(self):
            self.a = Noise()
            self.b = self.a

    assert Shared().init(KEY) == ({}, {})


def test_tied_parameters_are_one():
    class Language(nn.Module):
        def __init__(self):
            self.embed, self.head = Dense(3, 3), Dense(3, 3)
            nn.tie(self, "head.weight", "embed.weight")

        def forward(self, x):
            return self.head(self.embed(x))

    model = Language()
    params, state = model.init(KEY)
    assert list(params["head"]) == ["bias"]
    grads = jax.grad(lambda p: model.apply(p, state, X)[0].sum())(params)

    def by_hand(w1, w2):
        return ((X @ w1.T) @ w2.T).sum()

    w = params["embed"]["weight"]
    first, second = jax.grad(by_hand, (0, 1))(w, w)
    chex.assert_trees_all_close(grads["embed"]["weight"], first + second, rtol=1e-5)
    sd = fx.state_dict(model, params, state)
    assert sd["head.weight"] is sd["embed.weight"]
    chex.assert_trees_all_equal(fx.load_state_dict(model, sd), (params, state))
    with pytest.raises(ValueError, match="tied to embed.weight, but the two arrays differ"):
        fx.load_state_dict(model, {**sd, "head.weight": w + 1})
    with pytest.raises(ValueError, match="nothing called 'head.wait'"):
        nn.tie(object.__new__(Language), "head.wait", "embed.weight")


def test_a_tied_part_with_state_is_one():
    class Shared(nn.Module):
        def __init__(self):
            self.a, self.b = Counter(), Counter()
            nn.tie(self, "b", "a")

        def forward(self, x):
            return self.b(self.a(x))

    params, state = Shared().init(KEY)
    assert state == {"a": {"count": 0}}
    assert Shared().apply(params, state, X, train=True)[1] == {"a": {"count": 2}}


# ---- descriptions are frozen values


def test_descriptions_are_frozen():
    model = Net()
    with pytest.raises(AttributeError, match="Net is frozen after __init__: 'x' cannot change"):
        model.x = 1
    with pytest.raises(AttributeError, match="'fc1' cannot change"):
        del model.fc1
    with pytest.raises(AttributeError, match="Parameter is frozen"):
        model.fc1.weight.shape = (1,)


def test_descriptions_compare_hash_and_pickle():
    assert Net() == Net() and hash(Net()) == hash(Net()) and Net() is not Net()
    assert Dense(2, 3) != Dense(3, 2) and Dense(2, 3) != 1
    assert pickle.loads(pickle.dumps(Net())) == Net() == copy.deepcopy(Net())


def test_equality_includes_types():
    class Value(nn.Module):
        def __init__(self, value):
            self.value = value

    values = [1, 1.0, True, "1", (1,), (1.0,), None, {"a": 1}, {"a": True}]
    assert len({Value(v) for v in values}) == len(values)
    assert Value(float("nan")) == Value(float("nan"))
    assert Value(0.0) != Value(-0.0)


def test_equal_descriptions_share_one_compilation():
    traces = []

    class Traced(Dense):
        def forward(self, x):
            traces.append(1)
            return super().forward(x)

    params, state = Traced(3, 2).init(KEY)
    models = [Traced(3, 2) for _ in range(3)]
    for model in models:
        jax.jit(model.apply)(params, state, X)
    assert len(traces) == 1
    assert Traced(3, 2).apply == Traced(3, 2).apply != Traced(3, 2).init


def test_containers_grow_until_used():
    class Deep(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList()
            for _ in range(12):
                self.layers.append(Dense(3, 3))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    model = Deep()
    params, state = model.init(KEY)
    expected = X
    for i in range(12):  # "10" sorts before "2": order comes from the description
        p = params["layers"][str(i)]
        expected = expected @ p["weight"].T + p["bias"]
    chex.assert_trees_all_close(model.apply(*jax.jit(model.init)(KEY), X)[0], expected, rtol=1e-5)
    names = list(fx.state_dict(model, *jax.jit(model.init)(KEY)))
    assert names[::2] == [f"layers.{i}.weight" for i in range(12)]
    with pytest.raises(AttributeError, match="ModuleList is frozen"):
        model.layers.append(Dense(3, 3))


def test_named_modules_are_torchs():
    assert [name for name, _ in Net().named_modules()] == ["", "fc1", "counter", "noise", "fc2"]


def test_constructors_show_their_signature():
    assert str(inspect.signature(Dense)) == "(d_in, d_out)"


class Pair(nn.Module):
    def __init__(self):
        self.a, self.b = Dense(3, 3), Dense(3, 3)

    def forward(self, x):
        return self.b(self.a(x))


def test_a_frozen_description_cannot_be_tied():
    with pytest.raises(AttributeError, match=r"Pair is frozen after __init__: call nn.tie\(self"):
        nn.tie(Pair(), "b.weight", "a.weight")


def test_ties_are_checked():
    class Bad(Pair):
        def __init__(self, *ties):
            super().__init__()
            for alias, source in ties:
                nn.tie(self, alias, source)

    with pytest.raises(ValueError, match="'b' is 'a' itself, or tied to it already"):
        Bad(("b", "a"), ("a", "b"))
    with pytest.raises(ValueError, match="'a' is 'a' itself"):
        Bad(("a", "a"))
    with pytest.raises(ValueError, match="expected two parameters of one shape or two equal parts"):
        Bad(("a.weight", "b.bias"))
    with pytest.raises(ValueError, match="expected two parameters of one shape or two equal parts"):
        nn.replace(Bad(("b", "a")), "b", Dense(3, 7))


def test_a_method_of_a_module_is_refused():
    class Bad(nn.Module):
        def __init__(self, wrap):
            self.inner = wrap(Dense(3, 3).forward)

    for wrap in (lambda f: f, functools.partial):
        with pytest.raises(TypeError, match="Bad.inner: a method of a module would hide"):
            Bad(wrap)


def test_what_torch_has_is_pointed_to():
    with pytest.raises(AttributeError, match="no attribute 'parameters'; in fx: jax.tree.leaves"):
        Pair().parameters()
    with pytest.raises(AttributeError, match=r"'get_submodule'; in fx: dict\(model.named_mod"):
        Pair().get_submodule("a")
    with pytest.raises(AttributeError, match="'Pair' object has no attribute 'c'$"):
        Pair().c  # noqa: B018
    with pytest.raises(AttributeError, match="nn.init.kaiming_normal makes an initialiser"):
        nn.init.kaiming_normal_  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        nn.init.nothing  # noqa: B018

    class Idiom(Pair):
        def __init__(self):
            super().__init__()
            self.apply(lambda part: None)

    with pytest.raises(RuntimeError, match="Idiom: used in its own __init__.*nn.init.by_type"):
        Idiom()
    with pytest.raises(ValueError, match="an attribute called 'training' would shadow"):
        _named("training")


def _named(name):
    class Bad(nn.Module):
        def __init__(self):
            setattr(self, name, 1)

    return Bad()


def test_torchs_ways_to_declare():
    class Declared(nn.Module):
        def __init__(self):
            self.register_parameter("weight", nn.Parameter((3,), nn.init.ones))
            self.register_parameter("bias", None)
            self.register_buffer("scale", np.ones(3, np.float32), persistent=False)
            self.add_module("0", Dense(3, 3))

        def forward(self, x):
            return getattr(self, "0")(x * self.weight * self.scale)

    params, state = Declared().init(KEY)
    assert set(params) == {"weight", "0"} and set(state) == {"scale"}
    assert list(fx.state_dict(Declared(), params, state)) == ["weight", "0.weight", "0.bias"]
    assert Declared().apply(params, state, X)[0].shape == (5, 3) and Declared().bias is None
