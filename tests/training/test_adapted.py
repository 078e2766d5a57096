"""What the tables say of a schedule that follows the losses."""

import pytest
import torch

from darl.model.noise import Beta
from darl.model.schedules.infonoise import InfoNoise
from darl.training.adapted import COLUMNS, PROBABILITIES, QUANTILES, adapted_columns


def test_columns_hold_the_nearest_beta_and_the_quantiles() -> None:
    columns = adapted_columns(Beta(a=2.0, b=5.0))
    assert columns.keys() == COLUMNS.keys()
    assert (columns["adapted_a"], columns["adapted_b"]) == pytest.approx((2, 5))
    gamma = torch.tensor([float(text) for text in str(columns[QUANTILES]).split()], dtype=torch.float64)
    torch.testing.assert_close(gamma, Beta(a=2.0, b=5.0).quantile(torch.tensor(PROBABILITIES).double()))


def test_the_start_is_symmetric() -> None:
    columns = adapted_columns(InfoNoise().adaptation().schedule)
    assert columns["adapted_a"] == pytest.approx(columns["adapted_b"])
