"""One contract for every training objective: a class that is defined goes through it by itself."""

from dataclasses import replace

import pytest
import torch

from darl.errors import UserError
from darl.model.config import ModelConfig
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.base import LABELS, Draws, Objective
from darl.model.orders import Hilbert
from darl.model.positions import Rotary2d
from darl.model.tokenizers.dvae import Dvae
from tests.model.counted_operations import counted_operations

OPTIONS = [
    "mse:head_depth=2", "mse:normalize_target=true", "diffusion:decoder_depth=2,gamma_conditioning=true",
    "mae:decoder_depth=2,decoder_width=24,mask_ratio=0.4,normalize_target=false",
    "masked:head_depth=2,normalize_target=true", "supervised:label_smoothing=0",
]  # fmt: skip
CLASSES, VOCABULARY = 5, 11
OBJECTIVES = [*(objective() for objective in Objective.kinds().values()), *map(Objective.parse, OPTIONS)]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=str)


def model_of(objective: Objective, seed: int = 0, patch_size: int = 2) -> Darl:
    return ModelConfig(
        size=EncoderConfig(width=32, depth=2, heads=2, patch_size=patch_size),
        image_size=(8, 8),
        channels=1,
        order=Hilbert(),
        position=Rotary2d(),
        causal=objective.causal_by_default,
        classes=CLASSES,
        objective=objective,
        noise=Beta() if objective.uses_noise else None,
        tokenizer=Dvae(vocabulary=VOCABULARY, width=8, depth=1) if objective.needs_tokenizer else None,
    ).build(seed)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def draws_for(model: Darl, count: int = 4) -> Draws:
    """What the loss needs for so many images beside them; labels as the training loop adds them."""
    labels = {LABELS: torch.arange(count) % CLASSES} if model.objective.needs_labels else {}
    return {**model.draw(range(count), 0), **labels}


def prediction_shapes(objective: Objective) -> list[tuple[int, ...]]:
    """Of 4 images: all patches or their embeddings, or a score for each class or token of an objective of these."""
    if objective.needs_tokenizer:
        return [(4, 16, VOCABULARY)]
    return [(4, CLASSES)] if objective.needs_labels else [(4, 16, 4), (4, 16, 32)]


@every_objective
def test_the_loss_is_a_finite_scalar_that_every_part_of_the_model_learns_from(objective: Objective):
    model = model_of(objective)
    out = model(images(), draws_for(model))
    assert out["loss"].shape == ()
    assert bool(out["loss"].isfinite())
    assert out["prediction"].shape in prediction_shapes(objective)
    out["loss"].backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("kind", ["mse", "diffusion", "mae", "masked"])
def test_targets_of_one_value_cannot_be_normalised(kind: str):
    """Their variance is not defined: the loss would be NaN."""
    message = r"^objective\.normalize_target must be false for patches of a single value, got True$"
    with pytest.raises(UserError, match=message):
        model_of(Objective.parse(f"{kind}:normalize_target=true"), patch_size=1)
    model_of(Objective.parse(f"{kind}:normalize_target=false"), patch_size=1)


@every_objective
def test_the_loss_is_a_function_of_the_images_and_the_draws(objective: Objective):
    model, torch_state = model_of(objective), torch.get_rng_state()
    draws = draws_for(model)
    assert torch.equal(model(images(), draws)["loss"], model(images(), draws)["loss"])
    if objective.needs_labels:
        with pytest.raises(UserError, match=r"^draws must hold 'labels', "):
            model(images(), seed=3)
    else:
        assert torch.equal(model(images(), seed=3)["loss"], model(images(), seed=3)["loss"])
    assert torch.equal(torch_state, torch.get_rng_state())


IN_ORDER = [one for one in OBJECTIVES if one.causal_by_default]


@pytest.mark.parametrize("objective", IN_ORDER, ids=str)
def test_a_causal_model_predicts_no_patch_from_a_later_one(objective: Objective):
    model = model_of(objective)
    draws, pixels = draws_for(model, 1), images(1)
    before = model(pixels, draws)["prediction"]
    for index in (1, 7, 15):
        row, column = divmod(int(model.order[index]), 4)
        changed = pixels.clone()
        changed[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
        after = model(changed, draws)["prediction"]
        assert torch.equal(after[:, :index], before[:, :index])
        assert index == 15 or not torch.equal(after[:, index + 1], before[:, index + 1])


@pytest.mark.parametrize("objective", [one for one in OBJECTIVES if one.needs_labels], ids=str)
def test_an_objective_that_needs_labels_learns_from_them(objective: Objective):
    model = model_of(objective)
    first, other = (
        model(images(), {**draws_for(model), LABELS: labels}) for labels in torch.tensor([[0, 1, 2, 3], [4, 1, 2, 3]])
    )
    assert not torch.equal(first["loss"], other["loss"])
    assert torch.equal(first["prediction"], other["prediction"])


@every_objective
def test_a_row_draws_the_same_in_any_share_of_the_batch(objective: Objective):
    model = model_of(objective)
    whole, part, other = (
        model.draw(rows, 5, step) for rows, step in ((range(96), 1), (range(30, 40), 1), (range(96), 2))
    )
    assert whole.keys() == part.keys() == objective.draws(model.config, model.noise).keys()
    for name, values in whole.items():
        assert torch.equal(values[30:40], part[name])
        assert not torch.equal(values, other[name])


@every_objective
def test_operations_are_those_that_torch_counts(objective: Objective):
    model = model_of(objective)
    assert counted_operations(model, images(3), draws_for(model, 3)) == 3 * model.flops() == 3 * model.config.flops()


@every_objective
def test_all_weights_follow_from_the_seed(objective: Objective):
    first, again, other = (model_of(objective, seed) for seed in (1, 1, 2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    matrices = [name for name, value in first.named_parameters() if value.ndim > 1]
    assert all(not torch.equal(first.state_dict()[name], other.state_dict()[name]) for name in matrices)


@every_objective
def test_it_denoises_where_it_says_so_and_refuses_by_name_elsewhere(objective: Objective):
    model = model_of(objective)
    if not objective.can_denoise:
        with pytest.raises(UserError, match=r"^objective must "):
            model.denoiser(images())
        return
    clean, estimate = model.denoiser(images())
    assert clean.shape == (4, 16, 4)
    assert estimate(torch.randn(4, 16, 4), torch.full((4, 16), 0.5)).shape == (4, 16, 4)


def generated(objective: Objective) -> torch.Tensor | str:
    """Two images, or why there are none."""
    try:
        return model_of(objective).generate(2, steps=2)
    except UserError as refusal:
        return str(refusal)


@every_objective
def test_it_generates_images_or_refuses_by_name(objective: Objective):
    result = generated(objective)
    if isinstance(result, str):
        assert result.startswith("objective")
    else:
        assert result.shape == (2, 1, 8, 8)
        assert bool(result.isfinite().all())


@every_objective
def test_a_causal_encoder_is_refused_where_tokens_must_read_those_after_them(objective: Objective):
    config = model_of(objective).config
    for causal in (False, True):
        if causal and objective.bidirectional:
            with pytest.raises(UserError, match=rf"^causal must be false for objective {objective.kind}, got True$"):
                replace(config, causal=causal)
        else:
            assert replace(config, causal=causal).causal is causal
