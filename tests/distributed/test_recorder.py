"""The error text in a failed trial's row."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import ActorDiedError, RayTaskError

from darl.distributed.recorder import _reason

LONG = "CUDA out of memory. Tried to allocate 2 GiB.\nCompile with `TORCH_USE_CUDA_DSA` to enable assertions."
TEXT = """Failure # 1 (occurred at 2026-11-25)
ValueError: an earlier one
Failure # 2 (occurred at 2026-11-25)
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RayTaskError("f", "Traceback …", RuntimeError(LONG)), f"RuntimeError: {' '.join(LONG.split())}"),
        (ActorDiedError(), "ActorDiedError: The actor died unexpectedly before finishing this task."),
        (
            RuntimeError("It died.\n\tactor_id: 06010812\n\tpid: 12\nOut of memory."),
            "RuntimeError: It died. Out of memory.",
        ),
    ],
    ids=["in the trial", "of its process", "without Ray's ids"],
)
def test_a_pickled_error_gives_type_and_message(tmp_path: Path, error: Exception, expected: str) -> None:
    file = tmp_path / "error.pkl"
    file.write_bytes(cloudpickle.dumps(error))
    assert _reason(SimpleNamespace(pickled_error_file=str(file), error_file=None)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TEXT}Traceback:\n  File 'x'\ntorch.OutOfMemoryError: no room\n", "torch.OutOfMemoryError: no room"),
        (f"{TEXT}Task was killed, memory ran low.\nRefer to the documentation", "Task was killed, memory ran low."),
        (None, "the trial's process died"),
    ],
    ids=["a traceback", "words", "nothing"],
)  # fmt: skip
def test_error_summary_is_the_line_naming_the_cause(tmp_path: Path, text: str | None, expected: str) -> None:
    file, broken = tmp_path / "error.txt", tmp_path / "error.pkl"
    broken.write_bytes(b"of a class that is not here")
    if text is not None:
        file.write_text(text)
    assert _reason(SimpleNamespace(pickled_error_file=str(broken), error_file=str(file))) == expected
