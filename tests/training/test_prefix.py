"""Training with prefix attention: its prefixes are drawn again exactly on resumption, in parts and by any worker."""

import dataclasses
from pathlib import Path

import pytest
import torch

from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.training.events import Stepped
from darl.training.pretrain import fit


def losses(own: Experiment, data: Dataset, **options: object) -> list[float]:
    events = fit(own, data, device=torch.device("cpu"), full=lambda *_: {}, **options)  # type: ignore[arg-type]
    return [event.loss for event in events if isinstance(event, Stepped)]


@pytest.mark.parametrize("kind", ["diffusion", "nepa"])
def test_a_run_resumes_bit_for_bit_and_microbatches_give_the_step_of_the_whole(
    digits: Dataset, tmp_path: Path, kind: str
) -> None:
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:128], labels=digits.train.labels[:128])
    data = dataclasses.replace(digits, train=train)
    objective, size = Objective.parse(kind), EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
    noise = Beta() if objective.uses_noise else None
    own = Experiment(
        objective=objective, noise=noise, attention="prefix", causal=False, model=size, epochs=2, batch_size=32
    )
    whole = losses(own, data, folder=tmp_path, save_every=5)
    newest = sorted(tmp_path.glob("step-*"))[0]
    step = int(newest.name.removeprefix("step-"))
    assert 0 < step < len(whole) == 8
    assert losses(own, data, resume=newest) == whole[step:]
    parts = losses(dataclasses.replace(own, accumulate=4), data)
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)
