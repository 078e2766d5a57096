"""RankMe against numpy's singular values."""

import numpy as np
import pytest
import torch

from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation import rankme as rankme_module
from darl.evaluation.protocol import Protocol
from darl.evaluation.rankme import RankMeProtocol, effective_rank
from darl.evaluation.subject import Subject
from darl.metrics import RANKME
from tests.evaluation.example_subjects import CPU, experiment, unlabelled


def by_numpy(x: torch.Tensor) -> float:
    """Garrido et al. 2023, equation 1, with its constant of 1e-7."""
    values = np.linalg.svd(x.double().numpy(), compute_uv=False)
    shares = values / values.sum() + 1e-7
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize("shape", [(200, 16), (12, 40)], ids=["more images", "more features"])
def test_the_rank_is_the_entropy_of_numpys_singular_values(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, generator=generator) * torch.logspace(-3, 1, shape[1])
    assert effective_rank(x) == pytest.approx(by_numpy(x), rel=1e-4)


def test_the_rank_counts_dimensions_that_are_used_equally() -> None:
    axes = torch.eye(8)[:, :5].repeat(3, 1)
    assert effective_rank(axes) == pytest.approx(5)
    assert effective_rank(torch.ones(9, 4)) == pytest.approx(1)
    assert effective_rank(torch.zeros(9, 4)) == 0


def test_the_protocol_reads_the_last_block_by_the_models_own_pooling(digits: Dataset) -> None:
    model = experiment(depth=2).build()
    images = (torch.tensor(digits.validation.pixels).float() / 255 - digits.mean[0]) / digits.std[0]  # type: ignore[union-attr]
    expected = by_numpy(model.forward_features(images).detach().mean(1))
    last, first = (RankMeProtocol(block=block).measure(Subject(model, digits, CPU)) for block in ("last", "1"))
    assert last[RANKME.column] == pytest.approx(expected, rel=1e-3)
    assert first != last
    assert RankMeProtocol().measure(Subject(model, unlabelled(digits), CPU)) == last


def test_many_images_are_thinned_out(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    whole = RankMeProtocol().measure(subject)[RANKME.column]
    monkeypatch.setattr(rankme_module, "IMAGES", 5)
    few = RankMeProtocol().measure(subject)[RANKME.column]
    assert few <= 5 < 16
    assert few != whole
    assert few == RankMeProtocol().measure(subject)[RANKME.column]


@pytest.mark.parametrize("text", ["rankme:block=best", "rankme:mask=half"])
def test_other_options_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^protocol\.(block|mask) must be"):
        Protocol.parse(text)
