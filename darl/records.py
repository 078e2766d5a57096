"""Records: dataclasses as plain JSON values, and back; changed by dotted paths; as one row of a table.

Nothing here knows of experiments: a record has the fields of its dataclass, nested as they are. Fields hold plain
values, dataclasses or variants (`darl.variants`), and None where their type allows it.
"""

import dataclasses
import json
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast, get_args

from darl.aspects import Aspect, aspect_of
from darl.errors import UserError
from darl.variants import Record, Variant, convert, field_types, require

__all__ = ["aspects", "canonical", "changed", "columns", "flatten", "from_record", "to_record"]

Whole = TypeVar("Whole")


def to_record(whole: object) -> Record:
    """A dataclass as plain JSON values. A field whose default is None is left out where it is None.

    So the record stays the same when such a field is added. A float field given as 1 is written 1.0: equal dataclasses
    have equal texts.
    """
    types_by_name, record = field_types(type(whole)), Record()
    for item in dataclasses.fields(cast("Any", whole)):
        value = getattr(whole, item.name)
        if value is not None or item.default is not None:
            record[item.name] = _plain(value, types_by_name[item.name])
    return record


def from_record(kind: type[Whole], record: Record, where: str) -> Whole:
    """The inverse of `to_record`; `where` is the dataclass's name in a UserError."""
    return cast("Whole", _read(kind, record, where))


def canonical(record: Record) -> str:
    """The record as canonical JSON (sorted keys, no blanks): equal records have equal texts."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def changed(whole: Whole, values: Mapping[str, Any]) -> Whole:
    """A copy with fields set by dotted path. A text is converted to the field's type: see `Experiment.changed`."""
    return cast("Whole", _changed(whole, {tuple(path.split(".")): value for path, value in values.items()}))


def flatten(record: Record) -> Record:
    """A record as one row: columns are paths joined by underscores (`noise_a`); a variant's kind is in `noise`."""
    return dict(_flat(record, ""))


def columns(kind: type) -> dict[str, type]:
    """Every column that `flatten` can give for any record of a dataclass, with its plain type."""
    return {name: plain for name, plain, _ in _columns(kind, "")}


def aspects(kind: type) -> dict[str, frozenset[Aspect]]:
    """The aspects of a run that each of `columns` changes.

    A variant's field that declares no aspect has that of the field which holds the variant; any other field without one
    is taken to change all aspects. A column that belongs to several variants has the aspects of all of them.
    """
    by_column: dict[str, set[Aspect]] = {}
    for name, _, aspect in _columns(kind, ""):
        by_column.setdefault(name, set()).update(Aspect if aspect is None else {aspect})
    return {name: frozenset(each) for name, each in by_column.items()}


def _flat(record: Record, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(cast("Record", value), f"{prefix}{name}_")
        else:
            yield (prefix[:-1] if name == "kind" else prefix + name), value


def _columns(kind: Any, prefix: str, aspect: Aspect | None = None) -> Iterator[tuple[str, type, Aspect | None]]:
    """Name, plain type and aspect; `aspect` is that of the field that holds a value of this kind."""
    if issubclass(kind, Variant):
        yield prefix[:-1], str, aspect
        parts = list(kind.kinds().values())
    elif dataclasses.is_dataclass(kind):
        parts = [kind]
    else:
        yield prefix[:-1], kind, aspect
        return
    for part in parts:
        for item in dataclasses.fields(part):
            own = _bare(field_types(part)[item.name])
            yield from _columns(own, f"{prefix}{item.name}_", aspect_of(item) or aspect)


def _plain(value: Any, kind: Any) -> Any:
    """The value of a field of type `kind` as plain JSON values, dataclasses as dictionaries."""
    if isinstance(value, Variant):
        return value.to_record()
    if dataclasses.is_dataclass(value):
        return to_record(value)
    return float(value) if kind is float else value


def _bare(hint: Any) -> type:
    """`X` of `X | None`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in get_args(hint) if part is not types.NoneType)
    return hint


def _read(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return value
    record = cast("Record", value)
    if issubclass(kind, Variant):
        return kind.from_record(record)
    hints = field_types(kind)
    for name in record:
        require(name in hints, where, f"have a field among {', '.join(hints)}", name)
    return kind(**{name: _read(_bare(hints[name]), part, f"{where}.{name}") for name, part in record.items()})


def _changed(whole: Any, values: dict[tuple[str, ...], Any], where: str = "") -> Any:
    """`whole` with fields set by path; `where` is the path of `whole` followed by a dot, for errors."""
    kind = cast("Any", type(whole))
    names = _field_names(kind)
    new: dict[str, Any] = {}
    for name in dict.fromkeys(path[0] for path in values):
        path = where + name
        if name not in names:  # the error has no `field`, since the name is not one
            remedy = f"be a field of {kind.__name__}, one of {', '.join(names)}" if names else "be left out"
            raise UserError(f"{path} must {remedy}, got {name!r}")
        parts = {longer[1:]: value for longer, value in values.items() if longer[0] == name}
        value = _from_text(field_types(kind)[name], parts.pop((), getattr(whole, name)), path)
        new[name] = _changed(value, parts, f"{path}.") if parts else value
    return dataclasses.replace(whole, **new)


def _field_names(kind: Any) -> list[str]:
    """The names of a dataclass's fields; empty for any other type."""
    return [item.name for item in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _from_text(hint: Any, value: Any, where: str) -> Any:
    """A field's value from its text, by the field's annotation; any other value as it is."""
    kind = cast("Any", _bare(hint))
    if not isinstance(value, str) or kind is str:
        return value
    if value == "none" and kind is not hint:
        return None
    if issubclass(kind, Variant):
        return kind.parse(value)
    paths = ", ".join(f"{where}.{name}" for name in _field_names(kind))
    require(not paths, where, f"be set by its fields ({paths})", value)
    number = convert(where, kind, value)
    require(not isinstance(number, float) or math.isfinite(number), where, "be a finite number", value)
    return number
