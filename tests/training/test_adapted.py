"""What the tables say of schedules and orders that follow the losses."""

from typing import Any

import pytest
import torch

from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.mse import Mse
from darl.model.orders import Column
from darl.model.random_orders import Learned
from darl.model.schedules.infonoise import InfoNoise
from darl.training.adapted import COLUMNS, ORDER_SCORES, PROBABILITIES, QUANTILES, adapted_columns, order_columns


def test_columns_hold_the_nearest_beta_and_the_quantiles() -> None:
    columns = adapted_columns(Beta(a=2.0, b=5.0))
    assert columns.keys() == COLUMNS.keys() - {ORDER_SCORES}
    assert (columns["adapted_a"], columns["adapted_b"]) == pytest.approx((2, 5))
    gamma = torch.tensor([float(text) for text in str(columns[QUANTILES]).split()], dtype=torch.float64)
    torch.testing.assert_close(gamma, Beta(a=2.0, b=5.0).quantile(torch.tensor(PROBABILITIES).double()))


def test_the_start_is_symmetric() -> None:
    columns = adapted_columns(InfoNoise().adaptation().schedule)
    assert columns["adapted_a"] == pytest.approx(columns["adapted_b"])


def test_scores_of_patches_are_in_raster_order() -> None:
    order = Column().permutation(2, 2)
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=4)
    options: Any = {"objective": Mse(), "noise": None, "causal": False, "order": Column()}
    model = Experiment(model=size, random_order=Learned(prior=3.0), **options).build()
    scores = [float(score) for score in str(order_columns(model)[ORDER_SCORES]).split()]
    assert sorted(range(4), key=lambda patch: -scores[patch]) == order.tolist() == [0, 2, 1, 3]
    assert order_columns(Experiment(model=size, **options).build()) == {}
