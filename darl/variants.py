"""Families of alternatives: a variant is a small frozen dataclass, known by its `kind`.

A family (patch order, position encoding, noise schedule, objective) is a base class; a variant is a concrete subclass
with a `kind`. A family knows its variants by Python's own subclass list, and imports the modules of its package (where
it has one) before it looks. So a new variant is one class in one file: it can be parsed on the command line, written to
and read from a record, and it goes through the conformance tests. Names are turned into types only at the edges
(command line, record); inside, types decide.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from abc import ABC
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

from darl.errors import UserError

__all__ = ["Record", "Variant", "convert", "field_types", "members", "require"]

Record = dict[str, Any]
"""Plain JSON values by field name; the records of nested dataclasses and variants are nested."""

Family = TypeVar("Family")


def require(holds: bool, field: str, remedy: str, value: object) -> None:
    """Raise the UserError "FIELD must REMEDY, got VALUE" unless `holds`."""
    if not holds:
        raise UserError(f"must {remedy}, got {value!r}", field=field)


def members(family: type[Family]) -> list[type[Family]]:
    """Every concrete class of a family that is defined so far: those with a `kind` of their own.

    The modules of the family's `package` (one file per member), where it has one, are imported first.
    """
    if package := getattr(family, "package", ""):
        _import_all(package)
    below = [member for child in family.__subclasses__() for member in members(child)]
    own = [family] if "kind" in vars(family) and not inspect.isabstract(family) else []
    return [*own, *below]


@cache
def _import_all(package: str) -> None:
    """Import the modules of a package, once: records are read by the thousand, and looking into folders is slow."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


@cache
def field_types(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name, also where its module postpones its annotations."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@dataclass(frozen=True, kw_only=True)
class Variant(ABC):
    """One alternative of a family. Fields are int, float, bool or str, each with a default."""

    family: ClassVar[str]
    kind: ClassVar[str]
    package: ClassVar[str] = ""
    """For a family with one file per variant, the package whose modules define them; else empty."""

    @classmethod
    def family_class(cls) -> "type[Variant]":
        """The family that this variant belongs to: the class just below `Variant`."""
        return next(base for base in reversed(cls.__mro__) if issubclass(base, Variant) and base is not Variant)

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Every concrete variant of this family that is defined so far, by `kind`."""
        return {member.kind: member for member in members(cls)}

    @classmethod
    def of(cls, kind: str) -> type[Self]:
        """The variant named `kind`; raises UserError, listing the known names."""
        kinds = cls.kinds()
        require(kind in kinds, cls.family, f"be one of {', '.join(kinds)}", kind)
        return kinds[kind]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The variant of a text: `KIND`, `KIND:VALUE,VALUE` in field order, `KIND:field=value,…`; raises UserError."""
        kind, _, rest = text.partition(":")
        variant = cls.of(kind)
        fields = [field.name for field in dataclasses.fields(variant)]
        values: Record = {}
        for index, item in enumerate(filter(None, rest.split(","))):
            name, equals, value = item.partition("=")
            if not equals:
                require(index < len(fields), f"{cls.family} {kind}", f"have at most {len(fields)} values", text)
                name, value = fields[index], item
            require(name.strip() not in values, f"{cls.family}.{name.strip()}", "be given once", text)
            values[name.strip()] = value.strip()
        return variant.from_record({"kind": kind, **values})

    def to_record(self) -> Record:
        """`kind` and the fields as plain JSON values of the fields' types. Equal variants give the same JSON."""
        types = field_types(type(self))
        return {"kind": self.kind} | {name: convert(name, kind, getattr(self, name)) for name, kind in types.items()}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`; also takes every value as text. Raises UserError."""
        variant = cls.of(record.get("kind", ""))
        types = field_types(variant)
        values: Record = {}
        for name, value in record.items():
            if name != "kind":
                where = f"{cls.family}.{name}"
                require(name in types, cls.family, f"have a field among {', '.join(types) or '(none)'}", name)
                values[name] = convert(where, types[name], value)
        return variant(**values)

    def __str__(self) -> str:
        values = ",".join(f"{name}={_text(value)}" for name, value in dataclasses.asdict(self).items())
        return f"{self.kind}:{values}" if values else self.kind


def convert(where: str, kind: type, value: Any) -> Any:
    """`value` as the plain type `kind`; a text is parsed. Raises UserError where the value changes (1.5 as int)."""
    if kind is bool and isinstance(value, str):
        require(value.lower() in ("true", "false"), where, "be true or false", value)
        return value.lower() == "true"
    try:
        converted = kind(value)
        kept = isinstance(value, str) or converted == value
    except (TypeError, ValueError, OverflowError):
        converted, kept = None, False
    require(kept, where, f"be {_NAMES.get(kind, kind.__name__)}", value)
    return converted


_NAMES: dict[type, str] = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


def _text(value: object) -> str:
    """The shortest text that gives `value` back: 1 for 1.0."""
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)
