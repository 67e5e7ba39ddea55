import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn

KEY = jax.random.key(0)


def parts(lib):
    return lib.Linear(3, 4), lib.ReLU(), lib.Linear(4, 2)


def test_sequential_runs_in_turn_and_prints_as_torch():
    model = nn.Sequential(*parts(nn))
    params, state = model.init(KEY)
    out, _ = model.apply(params, state, jnp.ones((5, 3)))
    p = params
    hidden = jax.nn.relu(jnp.ones((5, 3)) @ p["0"]["weight"].T + p["0"]["bias"])
    expected = hidden @ p["2"]["weight"].T + p["2"]["bias"]
    assert jnp.allclose(out, expected, rtol=1e-6)
    assert repr(model) == repr(torch.nn.Sequential(*parts(torch.nn)))


def test_named_sequential():
    model = nn.Sequential({"first": nn.Linear(3, 4), "act": nn.ReLU()})
    assert set(model.init(KEY)[0]) == {"first"} and len(model) == 2
    assert repr(model).splitlines()[1].startswith("  (first): Linear")


def with_bare_middle(lib):
    class Owner(lib.Module):
        def __init__(self):
            super().__init__()
            self.mid = lib.Module()
            self.mid.first, self.mid.norm = lib.Linear(3, 4), lib.LayerNorm(4)

        def forward(self, x):
            return self.mid.norm(self.mid.first(x))

    return Owner()


def test_a_bare_module_takes_parts_as_in_torch():
    theirs, model = with_bare_middle(torch.nn), with_bare_middle(nn)
    assert repr(model) == repr(theirs)
    params, state = fx.load_state_dict(model, theirs.state_dict())
    assert list(fx.state_dict(model, params, state)) == list(theirs.state_dict())
    out, _ = model.apply(params, state, jnp.ones((2, 3)))
    assert jnp.allclose(out, theirs(torch.ones(2, 3)).detach().numpy(), atol=1e-6)
    with pytest.raises(AttributeError, match="Module is frozen after __init__: 'more' cannot"):
        model.mid.more = nn.Linear(4, 4)


def test_indexing_and_slices():
    model = nn.Sequential(*parts(nn))
    assert model[-1] == model[2] == nn.Linear(4, 2) and list(model)[1] == nn.ReLU()
    tail = model[1:]
    assert list(tail.init(KEY)[0]) == ["2"] and repr(tail).startswith("Sequential(\n  (1): ReLU()")
    torch_tail = torch.nn.Sequential(*parts(torch.nn))[1:]
    assert list(torch_tail.state_dict()) == ["2.weight", "2.bias"]
    assert len(nn.ModuleList(parts(nn))[::2]) == 2
    with pytest.raises(TypeError, match="part's position or a slice, got '0'; write \\[0\\]"):
        nn.Sequential(nn.ReLU())["0"]
    with pytest.raises(IndexError, match="index 5 with 3 parts"):
        model[5]


def test_none_has_a_place_in_a_list():
    def made(lib):
        parts = lib.ModuleList([None, lib.Linear(3, 4), None])
        parts.append(lib.Linear(4, 2))
        return parts

    ours, theirs = made(nn), made(torch.nn)
    assert list(fx.state_dict(ours, ours.init(KEY)[0])) == list(theirs.state_dict())
    assert [part is None for part in ours] == [part is None for part in theirs]
    assert ours[2] is None and ours[1:][0] == nn.Linear(3, 4)
    ours = made(nn)
    ours.insert(1, nn.ReLU())
    assert ours[0] is None and ours[1] == nn.ReLU() and len(ours) == 5


def test_slices_inside_forward_share_weights():
    class Features(nn.Module):
        def __init__(self):
            self.net = nn.Sequential(*parts(nn))

        def forward(self, x):
            return self.net[:2](x), self.net(x)

    params, state = Features().init(KEY)
    (early, late), _ = Features().apply(params, state, jnp.ones((1, 3)))
    last = params["net"]["2"]
    assert jnp.allclose(late, early @ last["weight"].T + last["bias"])


def test_modules_are_checked():
    with pytest.raises(TypeError, match="Sequential: expected a module at '0'.*with parentheses"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(
        TypeError, match=r"at '0', got \[ReLU\(\)\]; give its modules one by one, as"
    ):
        nn.Sequential([nn.ReLU()])
    with pytest.raises(TypeError, match="at '0', got <.*>; write an nn.Module whose forward"):
        nn.Sequential(jax.nn.relu)
    with pytest.raises(TypeError, match="ModuleList: expected a module at '1', got 3"):
        nn.ModuleList([nn.ReLU(), 3])


def test_module_list_prints_as_torch():
    def build(lib):
        return lib.ModuleList([lib.Linear(2, 2), lib.Linear(2, 2), lib.ReLU()])

    assert repr(build(nn)) == repr(build(torch.nn))


def test_module_dict():
    class Heads(nn.Module):
        def __init__(self):
            self.heads = nn.ModuleDict({"a": nn.Linear(3, 1)})
            self.heads["b"] = nn.Linear(3, 2)

        def forward(self, x):
            return {name: head(x) for name, head in self.heads.items()}

    model = Heads()
    out, _ = model.apply(*model.init(KEY), jnp.ones((4, 3)))
    assert out["a"].shape == (4, 1) and out["b"].shape == (4, 2)
    assert list(model.heads) == ["a", "b"] and "a" in model.heads and len(model.heads) == 2
    assert (
        list(model.heads.keys()) == ["a", "b"] and list(model.heads.values())[1].out_features == 2
    )
    with pytest.raises(KeyError, match="nothing called 'c'; it has a, b"):
        model.heads["c"]
    built = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 1), "b": torch.nn.Linear(3, 2)})
    assert repr(model.heads) == repr(built)


def test_a_subclass_of_sequential():
    class Block(nn.Sequential):
        def __init__(self, d):
            super().__init__(nn.Linear(d, d), nn.ReLU())

    model = nn.Sequential(Block(3), Block(3))
    assert model.apply(*model.init(KEY), jnp.ones((1, 3)))[0].shape == (1, 3)
    assert Block(3) == Block(3) != nn.Sequential(nn.Linear(3, 3), nn.ReLU())


def test_a_slice_can_be_lifted_out_of_forward():
    class Early(nn.Module):
        def __init__(self):
            self.net = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(3, 5))

        def forward(self, x):
            fn, (params, state) = self.net[1:].functional()
            return fn(params, state, x)[0], params

    model = Early()
    (out, lifted), _ = model.apply(*model.init(KEY), jnp.ones((1, 3)))
    assert out.shape == (1, 5) and list(lifted) == ["2"]


def test_a_slice_of_a_list_in_forward_keeps_its_state():
    class Some(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList([nn.BatchNorm1d(3) for _ in range(3)])

        def forward(self, x):
            for layer in self.layers[1:]:
                x = layer(x)
            return x

    params, state = Some().init(KEY)
    _, new = Some().apply(params, state, jax.random.normal(KEY, (4, 3)), train=True)
    counts = [int(new["layers"][str(i)]["num_batches_tracked"]) for i in range(3)]
    assert counts == [0, 1, 1]


def test_names_that_hide_methods_are_refused():
    for name in ("keys", "values", "items", "update"):
        with pytest.raises(ValueError, match=f"ModuleDict: a part called '{name}' would hide"):
            nn.ModuleDict({name: nn.ReLU()})


def edit_sequential(lib):
    net = lib.Sequential(*parts(lib))
    net.insert(1, lib.Tanh())
    net[0] = lib.Linear(3, 4, bias=False)
    taken = net.pop(2)
    del net[-1]
    net += lib.Sequential(lib.Linear(4, 3))
    return net + lib.Sequential(taken), net


def edit_list(lib):
    net = lib.ModuleList(parts(lib))
    net.insert(0, lib.Tanh())
    net[-1] = lib.Sigmoid()
    taken = net.pop(1)
    del net[1:2]
    net += [lib.Identity()]
    return net + [taken], net


@pytest.mark.parametrize("edit", [edit_sequential, edit_list])
def test_lists_are_edited_as_in_torch(edit):
    for mine, theirs in zip(edit(nn), edit(torch.nn)):
        assert repr(mine) == repr(theirs)
        assert list(fx.state_dict(mine, *mine.init(KEY))) == list(theirs.state_dict())


def test_named_sequential_keeps_its_names_where_a_part_is_replaced():
    net = nn.Sequential({"first": nn.Linear(3, 4), "act": nn.ReLU()})
    net[1] = nn.Tanh()
    assert list(vars(net)) == ["first", "act"] and net[1] == nn.Tanh()


def test_module_dict_gives_parts_back():
    heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2), "c": nn.ReLU()})
    assert heads.pop("a") == nn.Linear(3, 1)
    del heads["b"]
    assert list(heads) == ["c"]
    heads.clear()
    assert len(heads) == 0
    with pytest.raises(KeyError, match="nothing called 'a'"):
        heads.pop("a")


def test_edits_that_cannot_be():
    net = nn.Sequential(*parts(nn))
    with pytest.raises(IndexError, match="index 3 with 3 parts"):
        net.pop(3)
    with pytest.raises(IndexError, match="index -4 with 3 parts"):
        del net[-4]
    with pytest.raises(TypeError, match="expected a container or list of modules to add, got 3"):
        net + 3
    with pytest.raises(TypeError, match="expected a module at '0', got 3"):
        net[0] = 3
    net.init(KEY)
    with pytest.raises(AttributeError, match="Sequential is frozen after __init__"):
        net.pop()


class ChainedInForward(nn.Module):
    def __init__(self):
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.BatchNorm1d(3)])

    def forward(self, x):
        return nn.Sequential(*self.layers, nn.ReLU())(x)


def test_parts_of_a_model_that_runs_are_chained_in_forward():
    model = ChainedInForward()
    params, state = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (8, 3))
    plain = nn.Sequential(*ChainedInForward().layers, nn.ReLU())
    for train in (False, True):
        ours, new = model.apply(params, state, x, train=train)
        theirs, other = plain.apply(params["layers"], state["layers"], x, train=train)
        np.testing.assert_array_equal(ours, theirs)
        jax.tree.map(np.testing.assert_array_equal, new["layers"], other)


def test_new_parts_with_parameters_are_not_chained_in_forward():
    class Wrong(ChainedInForward):
        def forward(self, x):
            return nn.Sequential(*self.layers, nn.Linear(3, 2))(x)

    model = Wrong()
    with pytest.raises(TypeError, match="Linear has parameters and cannot be called by itself"):
        model.apply(*model.init(jax.random.key(0)), jnp.ones((8, 3)))
