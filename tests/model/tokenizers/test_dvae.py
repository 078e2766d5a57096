"""The discrete VAE against a slow reference; its schedules; what a token depends on; what it costs."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from darl.errors import UserError
from darl.model.initial_weights import initialize
from darl.model.tokenizers.dvae import KL_RISES, Dvae, DvaeModel

SMALL = Dvae(vocabulary=5, width=6, depth=2, temperature=0.2, anneal=0.5, kl_weight=0.3)


def built(config: Dvae = SMALL) -> DvaeModel:
    model = config.build(channels=2, patch_size=2)
    initialize(model, 0)
    for parameter in model.parameters():  # zeros would hide what they multiply
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(parameter)))
    return model.double().requires_grad_(False)


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normed(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * norm.weight + norm.bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def reference_scores(model: DvaeModel, patch: Tensor) -> Tensor:
    """The scores (V) of one patch, its pixels channel first."""
    x = model.embed.weight @ patch + model.embed.bias
    for block in model.encoder:
        into, _, out = block.mlp
        hidden = gelu(into.weight @ normed(x, block.norm) + into.bias)
        x = x + out.weight @ hidden + out.bias
    return model.scores.weight @ normed(x, model.norm)


def reference_decoded(model: DvaeModel, vectors: dict[tuple[int, int], Tensor]) -> dict[tuple[int, int], Tensor]:
    """The pixels of each patch from the vectors of all, by (row, column): every convolution is written out."""
    for block in model.decoder:
        read = {at: normed(x, block.norm) for at, x in vectors.items()}
        for row, column in list(vectors):
            total = block.neighbours.bias.clone()
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    kernel = block.neighbours.weight[:, :, down + 1, right + 1]
                    neighbour = read.get((row + down, column + right))
                    total = total if neighbour is None else total + kernel @ neighbour
            change = block.project.weight @ gelu(total) + block.project.bias
            vectors = {**vectors, (row, column): vectors[row, column] + change}
    return {at: model.pixels.weight @ normed(x, model.decoder_norm) + model.pixels.bias for at, x in vectors.items()}


def patch_at(image: Tensor, at: tuple[int, int]) -> Tensor:
    row, column = at
    return image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()


PLACES = [(row, column) for row in range(2) for column in range(3)]


@pytest.mark.parametrize("done", [0.01, 0.3, 1.0])
def test_the_loss_is_the_slow_reference_s(done: float):
    model = built()
    gumbel = SMALL.draw(6, 2, torch.Generator().manual_seed(3)).double()
    tau = 0.2 + 0.8 * (1 + math.cos(math.pi * min(done / 0.5, 1))) / 2
    errors, divergences = list[float](), list[float]()
    for number, image in enumerate(images()):
        vectors = dict[tuple[int, int], Tensor]()
        for index, at in enumerate(PLACES):
            scores = reference_scores(model, patch_at(image, at))
            relaxed = ((scores + gumbel[number, index]) / tau).softmax(0)
            vectors[at] = sum(share * vector for share, vector in zip(relaxed, model.codebook.weight, strict=True))
            q = scores.softmax(0)
            divergences.append(sum(float(each * math.log(each * 5)) for each in q))
        decoded = reference_decoded(model, vectors)
        errors += [float((decoded[at] - patch_at(image, at)).square().mean()) for at in PLACES]
    weight = 0.3 * min(done / KL_RISES, 1)
    expected = sum(errors) / 12 + weight * sum(divergences) / 12 / 8
    assert SMALL.loss(model, images(), gumbel, done).item() == pytest.approx(expected, rel=1e-9)


def test_a_token_is_the_best_score_and_depends_on_its_patch_alone():
    model = built()
    tokens = model.tokens(images())
    for number, image in enumerate(images()):
        assert tokens[number].tolist() == [int(reference_scores(model, patch_at(image, at)).argmax()) for at in PLACES]
    changed = images()
    changed[:, :, 2:, 2:4] += 3  # the patch at (1, 1), the fifth of six
    same = [0, 1, 2, 3, 5]
    assert torch.equal(model.score(changed)[:, same], model.score(images())[:, same])
    assert not torch.equal(model.score(changed)[:, 4], model.score(images())[:, 4])


def test_the_reconstruction_reads_neighbours():
    """That is what it has over a table of patches."""
    model, tokens = built(), torch.tensor([[0, 1, 2, 3, 4, 0]])
    decoded = model.decode(tokens, (2, 3))
    vectors = {at: model.codebook.weight[int(token)] for at, token in zip(PLACES, tokens[0], strict=True)}
    for at, pixels in reference_decoded(model, vectors).items():
        torch.testing.assert_close(patch_at(decoded[0], at), pixels)
    other = model.decode(torch.tensor([[0, 1, 2, 3, 4, 1]]), (2, 3))
    assert not torch.equal(patch_at(decoded[0], (0, 1)), patch_at(other[0], (0, 1)))


def test_relaxed_tokens_become_tokens_as_the_temperature_falls():
    model = built()
    near, _ = model(images(), torch.zeros(2, 6, 5), 1e-5)
    torch.testing.assert_close(near, model.decode(model.tokens(images()), (2, 3)))


def test_the_schedules_are_functions_of_the_share_of_training():
    shares = [number / 100 for number in range(1, 101)]
    temperatures = [SMALL.temperature_at(share) for share in shares]
    assert SMALL.temperature_at(0) == 1
    assert temperatures == sorted(temperatures, reverse=True)
    assert SMALL.temperature_at(0.25) == pytest.approx(0.6)
    assert all(value == pytest.approx(0.2) for value in temperatures[49:])
    assert [SMALL.kl_weight_at(share) for share in (0.0, KL_RISES / 2, KL_RISES, 1.0)] == pytest.approx(
        [0, 0.15, 0.3, 0.3]
    )


def test_the_noise_is_gumbel_s():
    """Its mean is Euler's constant, its variance pi² / 6, and its distribution function exp(-exp(-x))."""
    drawn = Dvae(vocabulary=50).draw(20, 100, torch.Generator().manual_seed(0))
    assert drawn.shape == (100, 20, 50)
    assert drawn.mean().item() == pytest.approx(0.5772, abs=0.015)
    assert drawn.var().item() == pytest.approx(math.pi**2 / 6, rel=0.02)
    assert (drawn < 0).double().mean().item() == pytest.approx(math.exp(-1), abs=0.005)


def test_operations_are_those_that_torch_counts():
    model = built()
    with FlopCounterMode(display=False) as encoding:
        model.tokens(images())
    with FlopCounterMode(display=False) as training, torch.no_grad():
        SMALL.loss(model, images(), torch.zeros(2, 6, 5), 0.5)
    assert encoding.get_total_flops() == 12 * SMALL.encode_flops(8)
    assert training.get_total_flops() == 12 * SMALL.training_flops(8)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("vocabulary=1", "vocabulary must be at least 2, got 1"),
        ("width=0", "width must be at least 1, got 0"),
        ("temperature=0", r"temperature must be in \(0, 1\], got 0.0"),
        ("anneal=1.5", r"anneal must be in \(0, 1\], got 1.5"),
        ("kl_weight=-1", "kl_weight must be 0 or more, and finite, got -1.0"),
    ],
)
def test_bad_settings_are_told(option: str, remedy: str):
    with pytest.raises(UserError, match=rf"^tokenizer\.{remedy}$"):
        Dvae.parse(f"dvae:{option}")
