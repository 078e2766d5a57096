"""From flags to the experiment: the record's defaults, the data's over them, then the flags, then `--set`."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darl.cli.fields import RECORD_FLAGS
from darl.cli.flags import Options, Parser, add_experiment_flags, default_of
from darl.cli.recipes import DIGITS
from darl.data import Augment
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.encoder_config import SIZES, size_of
from darl.model.noise import Beta, Cosine
from darl.model.objectives.mse import Mse
from darl.model.orders import Hilbert
from darl.model.random_orders import TargetAware


def experiment(*arguments: str) -> Experiment:
    parser = Parser()
    add_experiment_flags(parser)
    return Options(parser.parse_args(arguments)).experiment()


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """Small colour images, whose defaults have crop and flip."""
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 255, (32, 32, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    return str(tmp_path)


def test_without_flags_it_is_the_default_experiment() -> None:
    assert experiment().to_json() == Experiment().to_json()


@pytest.mark.parametrize(
    ("path", "flags", "value"),
    [
        ("image_size", ["--image-size", "16"], 16),
        ("channels", ["--channels", "3"], 3),
        ("augment.crop_min", ["--crop-scale", "0.5"], 0.5),
        ("augment.flip", ["--flip"], True),
        ("augment.shift", ["--shift", "1"], 1),
        ("model.patch_size", ["--patch-size", "4"], 4),
        ("model.readout", ["--readout", "last"], "last"),
        ("causal", ["--no-causal"], False),
        ("noise", ["--noise", "cosine"], Cosine()),
        ("epochs", ["--epochs", "3"], 3),
        ("batch_size", ["--batch-size", "64"], 64),
        ("accumulate", ["--accumulate", "2"], 2),
        ("learning_rate", ["--learning-rate", "0.1"], 0.1),
        ("optim.weight_decay", ["--weight-decay", "0.1"], 0.1),
        ("optim.warmup", ["--warmup", "0"], 0.0),
        ("optim.ema", ["--ema", "0.9"], 0.9),
        ("precision", ["--precision", "float32"], "float32"),
        ("seed", ["--seed", "7"], 7),
        ("optim.clip", ["--set", "optim.clip=0.5"], 0.5),
        ("optim.beta1", ["--set", "epochs=2", "optim.beta1=0.8"], 0.8),
        ("noise.a", ["--noise", "beta:a=0.5", "--set", "noise.a=0.25"], 0.25),
        ("epochs", ["--epochs", "3", "--set", "epochs=4", "--set", "epochs=5"], 5),
    ],
)
def test_a_flag_sets_its_field_and_set_wins(path: str, flags: list[str], value: object) -> None:
    whole = experiment(*flags)
    for name in path.split("."):
        whole = getattr(whole, name)
    assert whole == value


def test_shifts_take_the_place_of_the_datas_crops(photos: str) -> None:
    assert experiment("--data", photos, "--shift", "4").augment == Augment(flip=True, shift=4)
    with pytest.raises(UserError, match=r"^augment\.shift must be none where augment\.crop_min 0\.5 crops"):
        experiment("--data", photos, "--shift", "4", "--crop-scale", "0.5")
    assert experiment("--data", photos, "--set", "augment.shift=none").augment == Augment(crop_min=0.2, flip=True)


def test_a_named_size_is_whole_on_the_digits() -> None:
    parser = Parser()
    add_experiment_flags(parser, on_digits={"model.depth": 2, "model.patch_size": 4})
    assert Options(parser.parse_args([])).experiment().model.depth == 2
    model = Options(parser.parse_args(["--model", "tiny"])).experiment().model
    assert (model.depth, model.width, model.patch_size) == (SIZES["tiny"].depth, SIZES["tiny"].width, 4)


def test_a_recipe_suits_the_images_and_flags_win(photos: str) -> None:
    quick = experiment("--data", photos, "--recipe", "quick")
    assert (quick.model.width, quick.model.patch_size, quick.epochs) == (SIZES["nano"].width, 8, 6)
    assert (quick.augment, quick.optim.ema) == (Augment(crop_min=0.6, flip=True), 0.999)
    own = ["--model", "small", "--epochs", "9", "--set", "optim.ema=0.5"]
    other = experiment("--data", photos, "--recipe", "quick", *own)
    assert (other.model, other.epochs, other.optim.ema) == (size_of("small", patch_size=8), 9, 0.5)
    assert (other.learning_rate, other.batch_size) == (quick.learning_rate, quick.batch_size)
    larger = experiment("--data", photos, "--recipe", "quick", "--image-size", "96")
    assert larger == experiment("--data", photos, "--recipe", "quick", "--set", "image_size=96")
    assert (larger.image_size, larger.model.patch_size, larger.epochs) == (96, 16, 60)
    parser = Parser()
    add_experiment_flags(parser, on_digits=DIGITS)
    assert experiment("--recipe", "quick") == Options(parser.parse_args([])).experiment()


def test_the_papers_recipe_is_the_same_for_all_images(photos: str) -> None:
    recipe = ("--data", photos, "--recipe", "paper")
    for size in ("base", "large", "huge"):  # the patches of huge have 14 pixels
        paper = experiment(*recipe, "--model", size)
        assert paper.model == SIZES[size]
        assert (paper.image_size, paper.batch_size, paper.epochs * paper.optim.warmup) == (224, 4096, 40)
    assert experiment(*recipe).model == SIZES["base"]
    longer = experiment(*recipe, "--set", "epochs=800")
    assert longer.epochs * longer.optim.warmup == 40
    assert experiment(*recipe, "--epochs", "800", "--warmup", "0.2").optim.warmup == 0.2
    assert experiment(*recipe, "--epochs", "20").optim.warmup == 0.5
    assert experiment("--recipe", "paper").channels == 3


def test_flags_override_the_datas_defaults(photos: str) -> None:
    usual = experiment("--data", photos)
    assert (usual.image_size, usual.channels, usual.augment) == (32, 3, Augment(crop_min=0.2, flip=True))
    assert (usual.model.width, usual.model.patch_size, usual.epochs) == (SIZES["tiny"].width, 4, 100)
    other = experiment("--data", photos, "--no-flip", "--channels", "1", "--model", "nano", "--epochs", "2")
    assert (other.channels, other.augment) == (1, Augment(crop_min=0.2, flip=False))
    assert (other.model.width, other.model.patch_size, other.epochs) == (SIZES["nano"].width, 4, 2)
    assert experiment("--data", photos, "--flip", "--set", "augment.flip=false").augment.flip is False


def test_an_order_for_each_image_turns_the_mask_off() -> None:
    own = experiment("--random-order", "target_aware:0.5,0.75", "--order", "hilbert")
    assert (own.causal, own.random_order, own.order) == (
        False, TargetAware(random_until=0.5, fixed_from=0.75), Hilbert(),
    )  # fmt: skip
    assert experiment("--set", "random_order=two_stream") == experiment("--random-order", "two_stream")
    assert experiment("--set", "random_order=none") == experiment()
    with pytest.raises(UserError, match=r"^causal must be false for random_order two_stream, .*, got True$"):
        experiment("--random-order", "two_stream", "--causal")
    with pytest.raises(UserError, match=r"^attention must be left out for random_order two_stream, got 'prefix'$"):
        experiment("--random-order", "two_stream", "--attention", "prefix")
    with pytest.raises(UserError, match=r"^random_order must be left out for objective mae, got 'two_stream'$"):
        experiment("--random-order", "two_stream", "--objective", "mae")


def test_an_objective_without_noise_has_none() -> None:
    for flags in (["--objective", "mse"], ["--objective", "mse", "--noise", "cosine"], ["--set", "objective=mse"]):
        assert (experiment(*flags).objective, experiment(*flags).noise) == (Mse(), None)
    with pytest.raises(UserError, match="noise must be left out for objective mse"):
        experiment("--objective", "mse", "--set", "noise=cosine")


def test_attention_is_one_word_for_two_fields() -> None:
    for word, expected in {"causal": (True, None), "full": (False, None), "prefix": (False, "prefix")}.items():
        own = experiment("--attention", word)
        assert (own.causal, own.attention) == expected
    assert experiment("--attention", "full", "--no-causal") == experiment("--no-causal")
    assert experiment("--set", "attention=prefix") == experiment("--attention", "prefix")
    with pytest.raises(UserError, match=r"^causal must be false, or left out, for attention prefix, got True$"):
        experiment("--attention", "prefix", "--causal")
    with pytest.raises(UserError, match=r"^attention must be left out for objective mae, got 'prefix'$"):
        experiment("--attention", "prefix", "--objective", "mae")
    assert not experiment("--attention", "full", "--objective", "mae").causal


@pytest.mark.parametrize("kind", ["mae", "masked"])
def test_an_objective_that_reads_both_ways_has_no_causal_mask(kind: str) -> None:
    for flags in (["--objective", kind], ["--set", f"objective={kind}"], ["--objective", kind, "--no-causal"]):
        masked = experiment(*flags)
        assert (masked.objective.kind, masked.noise, masked.causal) == (kind, None, False)
    for flags in (["--causal"], ["--set", "causal=true"]):
        with pytest.raises(UserError, match=f"^causal must be false for objective {kind}, got True$"):
            experiment("--objective", kind, *flags)
    assert experiment("--objective", "mse").causal is True


def test_the_help_shows_the_records_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    parser = Parser()
    add_experiment_flags(parser)
    text = re.sub(r"\n {9,}", " ", parser.format_help())  # a flag and its help in one line
    lines = {line.split()[0].rstrip(","): line for line in text.splitlines() if line.startswith("  --")}
    for path in ("batch_size", "accumulate", "learning_rate", "optim.weight_decay", "optim.warmup", "optim.ema"):
        assert lines[RECORD_FLAGS[path]].endswith(f"(default: {default_of(path):g})")
    assert lines["--noise"].endswith("(default: beta)")
    assert lines["--causal"].endswith("(default: yes)")
    assert "default: None" not in text


def test_default_of_a_field_equals_the_records() -> None:
    assert default_of("learning_rate") == Experiment().learning_rate
    assert default_of("noise") == Beta()
    assert default_of("optim.clip") == Experiment().optim.clip


@pytest.mark.parametrize("flags", [["--noise", "gauss"], ["--order", "zigzag"], ["--set", "optim.clip"]])
def test_mistakes_are_found_before_data_are_opened(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.data.defaults", lambda name: pytest.fail("the data were opened"))
    with pytest.raises(UserError):
        experiment(*flags)
