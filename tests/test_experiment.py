"""Records: one experiment, one text, one id."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darl.data import Augment, DataContent
from darl.errors import UserError
from darl.experiment import Experiment, columns
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta, Cosine, Linear, Noise
from darl.model.objectives.diffusion import Diffusion
from darl.model.objectives.mse import Mse
from darl.model.orders import NestedRaster, Order
from darl.model.positions import Position
from darl.optim import Optimizer
from darl.records import flatten

orders = st.sampled_from([kind() for kind in Order.kinds().values()])
positions = st.sampled_from([kind() for kind in Position.kinds().values()])
fractions = st.floats(0.01, 0.99)
noises = st.one_of(st.builds(Beta, a=fractions, b=fractions), st.just(Linear()), st.just(Cosine()))
goals = st.one_of(
    st.tuples(st.builds(Diffusion, decoder_depth=st.integers(1, 3), gamma_conditioning=st.booleans()), noises),
    st.tuples(st.builds(Mse, normalize_target=st.booleans()), st.none()),
)
experiments = st.builds(
    lambda goal, **fields: Experiment(objective=goal[0], noise=goal[1], **fields),
    goal=goals,
    order=orders,
    position=positions,
    causal=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    epochs=st.integers(1, 1000),
    learning_rate=fractions,
    augment=st.builds(Augment, crop_min=fractions, flip=st.booleans())
    | st.builds(Augment, flip=st.booleans(), shift=st.none() | st.integers(1, 9)),
    optim=st.builds(Optimizer, weight_decay=fractions, ema=fractions),
    content=st.none()
    | st.builds(
        DataContent,
        train=st.integers(1),
        validation=st.integers(1),
        classes=st.none() | st.integers(1),
        fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
    ),
)
CONTENT = DataContent(train=80, validation=20, classes=2, fingerprint="a" * 16)


@given(experiments)
@settings(max_examples=60, deadline=None)
def test_from_record_inverts_to_record(experiment: Experiment) -> None:
    assert Experiment.from_record(experiment.to_record()) == experiment
    again = Experiment.from_record(json.loads(experiment.to_json()))
    assert again == experiment
    assert again.trial_id == experiment.trial_id


@given(experiments)
@settings(max_examples=60, deadline=None)
def test_every_column_of_a_row_is_in_columns(experiment: Experiment) -> None:
    row, known = flatten(experiment.to_record()), columns()
    assert row.keys() <= known.keys()
    for name, value in row.items():
        assert value is None or type(value) is known[name], name


def test_the_documented_columns_exist() -> None:
    names = {"noise", "noise_a", "noise_b", "order", "position", "causal", "objective", "model_width", "learning_rate"}
    assert names <= columns().keys()
    row = flatten(Experiment().to_record())
    assert (row["noise"], row["noise_a"], row["noise_b"], row["order"]) == ("beta", 0.03, 1.0, "raster")
    assert flatten(Experiment(order=NestedRaster(block=2)).to_record())["order_block"] == 2


def test_equal_experiments_have_equal_ids_in_every_process() -> None:
    script = "from darl import Experiment; print(Experiment().trial_id)"
    assert Experiment(learning_rate=1).trial_id == Experiment(learning_rate=1.0).trial_id
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert other == Experiment().trial_id == Experiment(noise=Beta(a=0.03, b=1)).trial_id
    assert len(other) == 12
    ids = {Experiment(seed=seed, learning_rate=rate).trial_id for seed in range(3) for rate in (0.1, 0.2)}
    assert len(ids) == 6


def test_an_experiment_can_be_made_and_read_without_its_data() -> None:
    experiment = Experiment(data="nowhere/at/all", content=CONTENT)
    assert Experiment.from_record(experiment.to_record()) == experiment


def test_the_id_depends_on_the_content_of_the_data_and_not_on_its_address() -> None:
    here, there = Experiment(data="/here", content=CONTENT), Experiment(data="s3://there", content=CONTENT)
    assert here.trial_id == there.trial_id
    assert here.identity == there.identity != here.to_record()
    assert here.trial_id != dataclasses.replace(here, content=dataclasses.replace(CONTENT, train=81)).trial_id


def test_the_id_depends_on_the_address_where_the_content_is_unknown() -> None:
    assert Experiment(data="/here").trial_id != Experiment(data="/there").trial_id
    assert "content" not in Experiment().to_record()
    assert Experiment.from_record(Experiment().to_record()).content is None


def test_knowing_fills_in_a_missing_content_only() -> None:
    other = dataclasses.replace(CONTENT, train=81)
    known = Experiment().knowing({"digits": CONTENT})
    assert (known.content, known.knowing({"digits": other})) == (CONTENT, known)
    assert Experiment(data="/x").knowing({"digits": CONTENT}).content is None
    assert known.is_same(Experiment().to_json())
    assert not known.is_same(dataclasses.replace(known, content=other).to_json())
    assert not known.is_same(Experiment(seed=1).to_json())


def test_changing_the_data_resets_the_content() -> None:
    known = Experiment(content=CONTENT)
    assert known.changed({"seed": 1, "data": "digits"}).content == CONTENT
    assert known.changed({"data": "/x"}).content is None


def test_the_content_has_columns_of_its_own() -> None:
    own = {name: value for name, value in flatten(Experiment(content=CONTENT).to_record()).items() if "content" in name}
    assert own == {
        "content_train": 80, "content_validation": 20, "content_classes": 2, "content_fingerprint": "a" * 16,
    }  # fmt: skip
    assert not any("content" in name for name in flatten(Experiment().to_record()))


def test_fields_are_changed_by_path() -> None:
    changed = Experiment().changed({"noise.a": 0.5, "seed": 3, "model.width": 32})
    assert (changed.noise, changed.seed, changed.model.width) == (Beta(a=0.5, b=1.0), 3, 32)
    with pytest.raises(UserError, match=r"^noise\.c must be a field of Beta, one of a, b, got 'c'$"):
        Experiment().changed({"noise.c": 1.0})


def test_a_field_is_set_by_its_text() -> None:
    changed = Experiment().changed({
        "optim.clip": "0.5", "augment.flip": "false", "epochs": "7", "precision": "float32", "order": "random:seed=3",
        "objective": "mse", "noise": "none",
    })  # fmt: skip
    expected = dataclasses.replace(
        Experiment(epochs=7, precision="float32", objective=Mse(), noise=None, augment=Augment(flip=False)),
        order=Order.parse("random:seed=3"), optim=Optimizer(clip=0.5),
    )  # fmt: skip
    assert changed == expected
    assert changed.to_json() == expected.to_json()


def test_a_whole_field_is_set_before_the_fields_in_it() -> None:
    changed = Experiment(noise=Cosine()).changed(
        {"noise.a": "0.5", "noise": "beta", "model.heads": 5, "model.width": 60}
    )
    assert changed.noise == Beta(a=0.5)
    assert (changed.model.width, changed.model.heads) == (60, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.clp": 1}, "optim.clp must be a field of Optimizer, one of weight_decay, beta1, .*, got 'clp'"),
        ({"clip": 1}, "clip must be a field of Experiment, one of data, content, image_size, .*, got 'clip'"),
        ({"epochs.x": 1}, "epochs.x must be left out, got 'x'"),
        ({"epochs": "many"}, "epochs must be an integer, got 'many'"),
        ({"optim.clip": "nan"}, "optim.clip must be a finite number, got 'nan'"),
        ({"augment.flip": "maybe"}, "augment.flip must be true or false, got 'maybe'"),
        ({"noise": "gauss"}, "noise must be one of beta, .*, got 'gauss'"),
        ({"order": "none"}, "order must be one of"),
        ({"optim": "0.5"}, "optim must be set by its fields .optim.weight_decay, .*, got '0.5'"),
    ],
)
def test_an_impossible_change_is_refused_naming_the_path(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        Experiment().changed(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ""}, "data must be the name of a data set, got ''"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(RGB\), got 2"),
        ({"seed": -1}, r"seed must be in \[0, 2\^63\), got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"learning_rate": math.inf}, "learning_rate must be positive, got inf"),
        ({"batch_size": 10, "accumulate": 4}, "batch_size must be a multiple of accumulate 4, got 10"),
        ({"precision": "int4"}, "precision must be auto, float32 or bfloat16, got 'int4'"),
        ({"noise": None}, "noise must be given for objective diffusion, got None"),
        ({"objective": Mse()}, "noise must be left out for objective mse, got 'beta"),
        ({"image_size": 9}, "image_size must be a multiple of patch_size 2, got 9"),
        ({"image_size": 2}, "patch_size must leave more than one patch of image_size 2, got 2"),
        (
            {"model": EncoderConfig(width=66, heads=3, depth=1, patch_size=2)},
            "multiple of 4 for position rope2d, got 22",
        ),
    ],
)
def test_invalid_values_and_combinations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Experiment(**changes)  # type: ignore[arg-type]


def test_a_record_has_init_only_where_it_is_set() -> None:
    plain, begun = Experiment(), Experiment(init="sha256:0123456789abcdef")
    assert "init" not in plain.to_record()
    assert begun.trial_id != plain.trial_id
    assert Experiment.from_record(begun.to_record()) == begun
    assert Experiment.from_record({**plain.to_record(), "init": None}).trial_id == plain.trial_id


def test_an_experiment_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Experiment().seed = 1  # type: ignore[misc]


def test_the_default_experiment_can_be_built() -> None:
    assert Experiment().build().order.tolist() == list(range(16))
    assert {"beta", "linear", "cosine"} <= set(Noise.kinds())
