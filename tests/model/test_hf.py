"""Hugging Face policies: a tiny random Llama, packed, decoded, and with LoRA, against its own plain forward."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import model
from model.engine import SamplingParams, build
from model.hf import HFPolicy
from model.logprobs import token_logprobs
from model.packed import Packed
from r1env.errors import CheckpointError, ConfigError

SIZES = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
KINDS = {
    "llama, grouped heads": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "llama, plain heads, tied": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, num_key_value_heads=4, tie_word_embeddings=True)
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=2)),
}


class Ids:
    """The tokenizer is not what is tested here."""

    eos_token_id, pad_token_id = 1, 2

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


def made(kind: str = "llama, grouped heads"):
    torch.manual_seed(0)
    return KINDS[kind]().eval()


@pytest.fixture(params=KINDS, ids=str)
def pair(request):
    """A policy, and an untouched copy of its model."""
    return HFPolicy(made(request.param)), made(request.param)


@pytest.fixture
def prompts(ids):
    return [ids(n, 61, seed=n) for n in (7, 2, 12)]


def test_plain_forward(pair):
    policy, plain = pair
    rows = torch.randint(3, 61, (3, 14), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(rows)
    mask[1, 9:] = 0
    with torch.no_grad():
        ours = policy(rows, mask).logits
        theirs = plain(rows, attention_mask=mask).logits
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], rtol=0, atol=1e-5)
    assert not ours[1, 9:].any()


def test_packed_training_equals_padded_rows(pair, groups_of, oracle_logprobs):
    policy, plain = pair
    groups = groups_of([(3, [1, 9, 2]), (11, [5]), (1, [30, 7])], 61)
    packed = Packed.from_groups(groups)
    rows, targets = packed.predictions
    logprobs, _ = token_logprobs(policy, policy.hidden(packed)[rows], targets)
    expected = oracle_logprobs(plain, groups)
    torch.testing.assert_close(logprobs, expected, rtol=0, atol=1e-5)
    logprobs.sum().backward()
    expected.sum().backward()
    theirs = dict(plain.named_parameters())
    for name, p in policy.model.named_parameters():
        scale = float(theirs[name].grad.abs().max())
        torch.testing.assert_close(p.grad, theirs[name].grad, rtol=1e-3, atol=1e-5 * scale, msg=name)


def test_greedy_tokens_equal_transformers_generate(pair, prompts):
    policy, plain = pair
    params = SamplingParams(max_new_tokens=20, temperature=0)
    for prompt, (ours,) in zip(prompts, build("auto", policy, Ids()).sample(prompts, params, 0)):
        theirs = plain.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)
        assert list(ours.token_ids) == theirs[0, len(prompt) :].tolist()


def test_engine_logprobs_equal_the_training_path(pair, prompts):
    policy, _ = pair
    completions = build("transformers", policy, Ids(), max_rows=5).sample(
        prompts, SamplingParams(max_new_tokens=80, n=4, temperature=0.8), 3
    )
    packed = Packed.from_groups([(p, [c.token_ids for c in cs]) for p, cs in zip(prompts, completions)])
    rows, targets = packed.predictions
    with torch.no_grad():
        logprobs, _ = token_logprobs(policy, policy.hidden(packed)[rows], targets, 0.8)
    found = torch.tensor([p for cs in completions for c in cs for p in c.logprobs])
    torch.testing.assert_close(found, logprobs, rtol=0, atol=5e-5)
    assert {c.finish_reason for cs in completions for c in cs} == {"stop", "length"}


def test_generate_still_works_on_the_wrapped_model(pair):
    policy, plain = pair
    rows = torch.tensor([[2, 2, 5, 6], [7, 8, 9, 10]])
    mask = (rows != 2).long()
    kwargs = {"attention_mask": mask, "max_new_tokens": 10, "do_sample": False}
    assert torch.equal(policy.model.generate(rows, **kwargs), plain.generate(rows, **kwargs))


def test_directory_round_trip(pair, tmp_path):
    policy, plain = pair
    model.save(policy, tmp_path / "c")
    loaded = model.load(tmp_path / "c")
    assert isinstance(loaded, HFPolicy)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "c")
    for name, tensor in plain.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
        assert torch.equal(again.state_dict()[name], tensor)
    assert model.load(tmp_path / "c", dtype="bfloat16").lm_head_weight.dtype == torch.bfloat16


def test_eos_ids():
    policy = HFPolicy(made())
    assert policy.eos_token_ids == (1,)
    policy.model.generation_config.eos_token_id = [1, 7]
    assert policy.eos_token_ids == (1, 7)


# --- LoRA ------------------------------------------------------------------------------------------------


@pytest.fixture
def lora():
    pytest.importorskip("peft")
    policy = HFPolicy(made())
    policy.add_lora(rank=4, alpha=8, seed=0)
    return policy


def nudge(policy, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in policy.trainable_state().values():
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)


ROW = torch.tensor([[3, 4, 5, 6, 7]])


def test_lora_begins_as_the_base_and_trains_adapters_only(lora):
    base = made()
    with torch.no_grad():
        torch.testing.assert_close(lora(ROW).logits, base(ROW).logits, rtol=0, atol=1e-5)
    lora(ROW).logits.sum().backward()
    grown = {n for n, p in lora.model.named_parameters() if p.grad is not None}
    assert grown == set(lora.trainable_state())
    assert grown and all(".lora_" in name for name in grown)


def test_lora_state_round_trip(lora):
    nudge(lora, 1)
    state = {n: t.clone() for n, t in lora.trainable_state().items()}
    other = HFPolicy(made())
    other.add_lora(rank=4, alpha=8, seed=5)
    with torch.no_grad():
        assert not torch.equal(other(ROW).logits, lora(ROW).logits)
        other.load_trainable_state(state)
        assert torch.equal(other(ROW).logits, lora(ROW).logits)
    other = HFPolicy(made())
    other.add_lora(rank=8, alpha=8, seed=5)
    with pytest.raises(CheckpointError, match="lora_A"):
        other.load_trainable_state(state)


def test_lora_seed_decides_and_leaves_the_global_generator(lora):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again = HFPolicy(made())
    torch.manual_seed(3)
    again.add_lora(rank=4, alpha=8, seed=0)
    assert torch.equal(torch.rand(1), expected)
    for a, b in zip(lora.trainable_state().values(), again.trainable_state().values()):
        assert torch.equal(a, b)


def test_without_lora_is_the_base(lora):
    nudge(lora, 1)
    with torch.no_grad():
        tuned = lora(ROW).logits
        with lora.without_lora():
            torch.testing.assert_close(lora(ROW).logits, made()(ROW).logits, rtol=0, atol=1e-5)
        assert torch.equal(lora(ROW).logits, tuned)


def test_lora_is_merged_into_the_saved_copy(lora, tmp_path):
    nudge(lora, 1)
    with torch.no_grad():
        before = lora(ROW).logits
        model.save(lora, tmp_path / "c")
        assert torch.equal(lora(ROW).logits, before)
        torch.testing.assert_close(model.load(tmp_path / "c")(ROW).logits, before, rtol=1e-4, atol=1e-4)


def test_lora_samples_with_its_adapters(lora, prompts):
    nudge(lora, 1)
    params = SamplingParams(max_new_tokens=10, temperature=0)
    engine = build("auto", lora, Ids())
    tuned = engine.sample(prompts, params, 0)
    with lora.without_lora():
        assert engine.sample(prompts, params, 0) != tuned
    row = torch.tensor([[*prompts[0], *tuned[0][0].token_ids]])
    with torch.no_grad():
        best = lora(row).logits[0, len(prompts[0]) - 1 : -1].argmax(-1)
    assert best.tolist() == list(tuned[0][0].token_ids)


# --- what is refused -------------------------------------------------------------------------------------


def test_scaled_logits_are_refused():
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    scaled = GraniteForCausalLM(GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=4.0)).eval()
    with pytest.raises(ConfigError, match="GraniteForCausalLM: its logits are not its final hidden states"):
        HFPolicy(scaled)


def test_sliding_windows_are_refused():
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    sliding = MistralForCausalLM(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8)).eval()
    with pytest.raises(ConfigError, match="MistralAttention uses sliding_window"):
        HFPolicy(sliding)


def test_without_lora_needs_lora():
    with pytest.raises(ConfigError, match="no LoRA adapters"), HFPolicy(made()).without_lora():
        pass


def test_missing_weights_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    made().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys: model\.layers\.1\.mlp\.up_proj\.weight"):
        model.load(tmp_path)


def test_damaged_file_is_named(tmp_path):
    made().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        model.load(tmp_path)
