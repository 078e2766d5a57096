"""Records of dataclasses and variants, also of those in a module that postpones its annotations."""

import json

import pytest

from darl.aspects import Aspect
from darl.errors import UserError
from darl.records import aspects, canonical, changed, columns, flatten, from_record, to_record
from tests.example_shapes import Ball, Box, Shape, Toy

BALL = {"kind": "ball", "radius": 1.0, "patches": 12, "hollow": True, "colour": "red"}


def test_a_variant_of_a_module_that_postpones_its_annotations_is_read_and_written():
    assert Shape.parse("ball:2,hollow=false") == Ball(radius=2.0, hollow=False)
    assert Ball(radius=1).to_record() == BALL
    assert Shape.from_record({**BALL, "patches": "20"}) == Ball(patches=20)
    with pytest.raises(UserError, match=r"^shape\.patches must be an integer, got 2\.5$"):
        Shape.from_record({**BALL, "patches": 2.5})


def test_a_record_leaves_out_what_is_none_by_default():
    assert to_record(Toy(price=3)) == {"shape": BALL, "price": 3.0}
    assert to_record(Toy(shape=None, age=4)) == {"shape": None, "price": 2.0, "age": 4}


@pytest.mark.parametrize("toy", [Toy(), Toy(shape=Box(), age=3), Toy(shape=None)])
def test_a_record_is_read_back(toy: Toy):
    assert from_record(Toy, json.loads(canonical(to_record(toy))), "toy") == toy
    with pytest.raises(UserError, match=r"^toy must have a field among shape, price, age, got 'size'$"):
        from_record(Toy, {"size": 1}, "toy")


def test_fields_are_changed_by_path_and_text():
    assert changed(Toy(), {"shape.radius": "2", "age": "none"}) == Toy(shape=Ball(radius=2.0))
    assert changed(Toy(), {"shape.colour": "green", "shape": "box"}) == Toy(shape=Box(colour="green"))
    with pytest.raises(UserError, match=r"^size must be a field of Toy, one of shape, price, age, got 'size'$"):
        changed(Toy(), {"size": 1})


def test_columns_and_aspects_are_those_of_all_variants():
    row = {"shape": str, "shape_radius": float, "shape_patches": int, "shape_hollow": bool, "shape_colour": str}
    assert columns(Toy) == {**row, "price": float, "age": int}
    assert flatten(to_record(Toy(shape=Box(colour="green")))) == {
        "shape": "box", "shape_colour": "green", "price": 2.0,
    }  # fmt: skip
    changing = aspects(Toy)
    assert changing["shape"] == changing["shape_radius"] == {Aspect.INPUT}
    assert changing["shape_colour"] == {Aspect.INPUT, Aspect.LOSS}
    assert changing["price"] == set(Aspect)
    assert changing["age"] == {Aspect.CHANCE}
