"""The flags of fields, and how an error that names a field is printed for the user of a command."""

import ast
import pickle
import re
from argparse import Namespace
from pathlib import Path

import pytest

import darl
from darl.cli.fields import FLAGS, RECORD_FLAGS, dest, in_flags, overlapping, read_assignments
from darl.cli.flags import Parser, add_experiment_flags, default_of
from darl.errors import UserError
from darl.variants import require

SWEEP = Namespace(
    data="digits", noise=None, patch_size=None, crop_scale=None, name=None, model=None, epochs=None, set=[]
)


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("data", "--data"),
        ("noise", "--noise"),
        ("objective.noise", "--noise"),
        ("patch_size", "--patch-size"),
        ("model.patch_size", "--patch-size"),
        ("augment.crop_min", "--crop-scale"),
        ("sweep", "--name"),
        ("model and epochs", "--model and --epochs"),
        ("optim.clip", "--set optim.clip"),
        ("noise.a", "noise.a"),
        ("results", "results"),  # a command without that flag
        ("--grid", "--grid"),
    ],
)
def test_errors_name_the_flag_of_a_field(field: str, shown: str) -> None:
    assert in_flags(UserError("must be given, got None", field=field), SWEEP) == f"{shown} must be given, got None"


def test_commands_with_other_flags_for_a_field_name_their_own() -> None:
    report, evaluate = Namespace(folder="x", metric="x", html=None), Namespace(checkpoint="x", protocols="x")
    assert in_flags(UserError("must be a, got 'x'", field="metric"), report) == "--metric must be a, got 'x'"
    assert in_flags(UserError("must be a, got 'x'", field="protocol"), evaluate) == "--protocols must be a, got 'x'"


def test_a_command_without_set_names_the_field() -> None:
    assert in_flags(UserError("must be 0 or more, got -1", field="optim.clip"), Namespace()).startswith(
        "optim.clip must"
    )


def test_an_error_without_a_field_stays_unchanged() -> None:
    assert in_flags(UserError("nothing is here"), SWEEP) == "nothing is here"


def test_an_error_keeps_its_field_through_pickling() -> None:
    with pytest.raises(UserError, match=r"^noise\.a must be positive, got -1$") as raised:
        require(False, "noise.a", "be positive", -1)
    arrived = pickle.loads(pickle.dumps(raised.value))
    assert (str(arrived), arrived.field, arrived.message) == (str(raised.value), "noise.a", "must be positive, got -1")


def test_flags_and_fields_of_the_record_match() -> None:
    parser = Parser()
    add_experiment_flags(parser)
    flags = parser.parse_args([])
    for path in RECORD_FLAGS:
        assert hasattr(flags, dest(path))
        default_of(path)


def test_assignments_are_text_and_the_last_wins() -> None:
    assert read_assignments(["a.b=1", "c = x=y", "a.b=2", "d="]) == {"a.b": "2", "c": "x=y", "d": ""}
    for text in ("a", "=1", ""):
        with pytest.raises(UserError, match="--set must be FIELD=VALUE"):
            read_assignments([text])


def test_overlapping_finds_a_field_its_parts_and_its_container() -> None:
    changes = {"noise": 1, "noise.a": 1, "noise_map": 1, "order": 1}
    assert overlapping(changes, "noise") == ["noise", "noise.a"]
    assert overlapping(changes, "noise.b") == ["noise"]


def texts(source: str) -> list[str]:
    """The texts of a module that are not docstrings."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documentation]
    return [node.value for node in constants if isinstance(node.value, str)]


def test_no_module_below_the_command_line_names_a_flag() -> None:
    flag = re.compile(rf"(?<![\w-])({'|'.join(FLAGS.values())})\b")
    package = Path(darl.__path__[0])
    modules = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "cli"]
    assert len(modules) > 50
    said = [
        (path.relative_to(package), text) for path in modules for text in texts(path.read_text()) if flag.search(text)
    ]
    assert not said
