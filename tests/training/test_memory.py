"""Peak memory: of the training steps alone, of a process or a GPU."""

import sys

import pytest
import torch

from darl.training.memory import PeakMemory, gibibytes
from darl.training.parallel import Execution
from tests.training.example_workers import CPU, DEEP, experiment, losses_and_peak, some_digits

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the largest resident set is read from /proc")
def test_memory_that_was_given_back_counts_and_what_came_before_does_not() -> None:
    memory = PeakMemory(CPU)
    memory.stop()
    assert memory.most is None
    before = torch.ones(128 * MIB // 4)
    del before
    memory.start()
    memory.stop()
    rest = memory.most
    assert rest is not None
    memory.start()
    held = torch.ones(64 * MIB // 4)
    del held
    memory.stop()
    assert memory.most is not None
    assert 60 * MIB < memory.most - rest < 100 * MIB
    most = memory.most
    memory.start()
    memory.stop()
    assert memory.most == most


def test_a_run_tells_its_peak_from_the_first_step_on() -> None:
    _, peaks = losses_and_peak(experiment(), some_digits(), CPU)
    assert peaks[0] is None
    assert (peaks[1] is None) == (sys.platform != "linux")
    assert gibibytes(1.5 * 2**30) == "1.50 GiB"


@pytest.mark.gpu
def test_gradient_checkpointing_saves_a_gpus_memory_and_changes_no_loss() -> None:
    """Also where the blocks are compiled."""
    deep = experiment(model=DEEP, precision="float32", batch_size=72, epochs=6)
    gpu = torch.device("cuda")
    plain, (_, held) = losses_and_peak(deep, some_digits(), gpu)
    for compiled in (False, True):
        lean = Execution(gradient_checkpointing=True, compiled=compiled)
        losses, (_, less) = losses_and_peak(deep, some_digits(), gpu, lean)
        torch.testing.assert_close(torch.tensor(losses), torch.tensor(plain), rtol=1e-4, atol=0)
        assert less is not None
        assert held is not None
        assert less < held
