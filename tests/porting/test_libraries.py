"""`fx.port` of models as installed packages write them, and of some that do."""

import importlib
import importlib.util
from pathlib import Path

import jax
import pytest

import fx
from fx import functional as F
from fx import optim, train
from fx.porting.read import record

torch = pytest.importorskip("torch")
FOLDER = Path(__file__).parent


@pytest.fixture
def packaged(monkeypatch):
    """The module packaged.py, as if it was installed."""
    monkeypatch.setattr(record, "_PACKAGES", (*record._PACKAGES, str(FOLDER)))
    spec = importlib.util.spec_from_file_location("packaged", FOLDER / "packaged.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "packaged", module)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    return module


def test_a_packages_model_is_what_ran_of_it(packaged):
    x, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, True, True]])
    found = fx.port(packaged.Net(), (x, mask))
    assert found.equal, str(found)
    assert found.training == "random"
    for gone in ("HubMixin", "NetSettings", "Registry", "log", "_hub", "_shared", "load", "flash"):
        assert gone not in found.source, gone
    assert "class Base(nn.Module):" in found.source
    assert "settings = Namespace(attention='eager', heads=2)" in found.source
    assert "attend = eager" in found.source
    assert "key=module.next_key()" in found.source
    assert "isinstance(mask, jax.Array)" in found.source
    assert "HAS_KERNEL = False" in found.source
    assert "def __init__(this, *, config, processor, eager_bias, places, self)" in found.source
    assert "jnp.broadcast_to(jnp.arange(300, dtype=jnp.int32), (1, 300))" in found.source
    assert any("use_cache=False" in note for note in found.notes)
    assert any("attend is eager here" in note for note in found.notes)


def test_a_packages_question_is_answered_as_for_compiled_code(packaged):
    """A mask that hides nothing went the way that values decide; another one must work, too."""
    x, mask = torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    net = packaged.Net().eval()
    found = fx.port(net, (x, mask), training=False)
    assert found.equal, str(found)
    mask[0, 1] = False
    ours = found.model.apply(found.params, found.state, x.numpy(), mask.numpy())[0]
    with torch.no_grad():
        theirs = net(x, mask)
    assert abs(ours.hidden - theirs.hidden.numpy()).max() < 1e-5


def test_what_values_decide_is_not_taken_for_granted(packaged):
    found = fx.port(packaged.Decides(), torch.randn(2, 3))
    assert len(found.obstacles) == 2 and not found.equal
    assert all("bessel_j0 has no counterpart here" in each for each in found.obstacles)


def test_weights_load_again_by_their_names(packaged):
    """Buffers that are not in the state_dict are written where they are regular."""
    net = packaged.Net().eval()
    found = fx.port(net, torch.randn(2, 3, 4), training=False)
    params, state = fx.load_state_dict(found.model, net.state_dict())
    x = torch.randn(1, 5, 4)
    with torch.no_grad():
        theirs = net(x).hidden.numpy()
    assert abs(found.model.apply(params, state, x.numpy())[0].hidden - theirs).max() < 1e-5


SMALL = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
PICTURES = {
    "image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 64,
}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def made(name, config, **settings):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    return getattr(transformers, name)(getattr(transformers, config)(**settings)).eval()


def ids():
    torch.manual_seed(1)
    return torch.randint(3, 99, (2, 12))


def test_llama_ports_with_its_mask_and_loss():
    """It reads its configuration, makes its mask and its loss, and returns by name."""
    model = made("LlamaForCausalLM", "LlamaConfig", **SMALL, num_key_value_heads=2)
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, 8:] = 0
    found = fx.port(model, ids(), attention_mask=mask, labels=ids())
    assert found.equal, str(found)
    assert len(found.source.splitlines()) < 2000
    params, state = fx.load_state_dict(found.model, model.state_dict())
    given = {"attention_mask": mask.numpy(), "labels": ids().numpy()}
    out, _ = found.model.apply(params, state, ids().numpy(), **given)
    with torch.no_grad():
        theirs = model(ids(), attention_mask=mask, labels=ids())
    assert abs(out.loss - theirs.loss.numpy()) < 1e-5
    assert abs(out["logits"] - theirs.logits.numpy()).max() < 1e-5
    assert out[0] is out.loss and out.get("attentions") is None


def test_a_model_of_ones_own_on_a_packages_base():
    """Its configuration is of a class of one's own, too: what is read of it, and no base of it."""
    pytest.importorskip("transformers")
    tuned = importlib.import_module("tests.porting.tuned")
    torch.manual_seed(0)
    found = fx.port(tuned.Tuned(tuned.Config()), torch.randint(0, 20, (2, 5)))
    assert found.equal and found.training == "equal", str(found)
    assert "class Tuned(nn.Module):" in found.source
    assert "config = Settings(depth=2)" in found.source
    for gone in ("config_class", "base_model_prefix", "PretrainedConfig", "PreTrainedConfig"):
        assert gone not in found.source, gone


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "config", "settings", "given"),
    [
        ("BertModel", "BertConfig", SMALL, ids),
        ("Qwen3ForCausalLM", "Qwen3Config",
         SMALL | TOKENS | {"head_dim": 8, "num_key_value_heads": 2}, ids),
        ("Gemma2ForCausalLM", "Gemma2Config", SMALL | TOKENS | {"head_dim": 8}, ids),
        ("MistralForCausalLM", "MistralConfig", SMALL | TOKENS | {"num_key_value_heads": 2}, ids),
        ("MambaForCausalLM", "MambaConfig",
         {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, ids),
        ("T5EncoderModel", "T5Config", {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64,
         "num_layers": 2, "num_heads": 4}, ids),
        ("ModernBertModel", "ModernBertConfig",
         SMALL | TOKENS | {"cls_token_id": 1, "sep_token_id": 2}, ids),
        ("ViTModel", "ViTConfig", PICTURES, lambda: torch.randn(1, 3, 32, 32)),
        ("Dinov2Model", "Dinov2Config", PICTURES, lambda: torch.randn(1, 3, 32, 32)),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(("Model", "LM")) else "",
)  # fmt: skip
def test_hugging_faces_models_port(name, config, settings, given):
    found = fx.port(made(name, config, **settings), given(), training=False)
    assert found.equal, str(found)


def test_a_ported_model_trains_as_it_does_in_pytorch():
    """Six steps of AdamW on Hugging Face's Llama: the same losses."""
    model = made("LlamaForCausalLM", "LlamaConfig", **SMALL, num_key_value_heads=2).train()
    found = fx.port(model, ids(), layers=False)
    assert found.equal and found.training == "equal", str(found)

    def loss_fn(outputs, tokens):
        return F.cross_entropy(outputs.logits[:, :-1].reshape(-1, 99), tokens[:, 1:].reshape(-1))

    tokens = ids().numpy().astype("int32")
    optimizer = optim.adamw(1e-3)
    ts = train.create(found.model, optimizer, jax.random.key(0))
    ts = ts.replace(params=found.params, state=found.state)
    step = train.make_step(found.model, loss_fn, optimizer)
    theirs = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(6):
        ts, metrics = step(ts, (tokens, tokens))
        theirs.zero_grad()
        logits = model(ids(), use_cache=False).logits[:, :-1].reshape(-1, 99)
        loss = torch.nn.functional.cross_entropy(logits, ids()[:, 1:].reshape(-1))
        loss.backward()
        theirs.step()
        assert abs(float(metrics["loss"]) - loss.item()) < 1e-5


def test_where_a_part_is_and_a_choice_of_kernels(packaged):
    found = fx.port(packaged.Towers(), torch.randn(2, 4), layers=False)
    assert found.equal and found.gradients == "equal", str(found)
    assert "jax.tree.leaves(self.tower.functional()[1][0])[0].dtype" in found.source


def test_numbers_that_the_example_settled(packaged):
    found = fx.port(packaged.Shifted(), torch.randn(2, 5, 4), layers=False)
    assert found.equal and found.elsewhere == "equal", str(found)
    assert any("self.shift is what it was after the example ran" in n for n in found.notes)
    assert "shift=0" in found.source and "window=5" in found.source


@pytest.mark.parametrize("live", [False, True])
def test_a_configuration_of_a_package_for_such(packaged, live):
    def make():
        sizes = packaged.ConfigList([3, 4])
        model = packaged.ConfigDict(sizes=sizes, scale=2.0)
        return packaged.Configured(packaged.ConfigDict(model=model, device=torch.device("cpu")))

    found = fx.port(make() if live else make, torch.randn(2, 3), layers=False)
    assert found.equal, str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)
    assert "Config(model=Config(sizes=[3, 4], scale=2.0), device=None)" in found.source
