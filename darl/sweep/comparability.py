"""Which experiments a metric can compare.

A metric lists the aspects of a run across which its values mean different things (`darl.metrics`), and each field of
the record says which aspects it changes (`darl.aspects`). Experiments that differ in such a field are refused. A field
that this code does not know (of a variant that is not imported, or of another version) counts like the nearest known
field above it in the record; if there is none, it counts as changing every aspect.
"""

from collections.abc import Sequence

from darl.aspects import Aspect
from darl.errors import UserError
from darl.experiment import aspects
from darl.metrics import METRICS, RANKING_METRICS, Metric
from darl.variants import Record

__all__ = ["differing_fields", "require_comparable", "require_comparable_over"]


def differing_fields(records: Sequence[Record]) -> list[str]:
    """The fields in which flat records differ, `seed` aside."""
    names = dict.fromkeys(name for record in records for name in record if name != "seed")
    return [name for name in names if len({record.get(name) for record in records}) > 1]


def require_comparable(metric: str, records: list[Record]) -> list[str]:
    """The fields in which flat records differ, `seed` aside; raises UserError if the metric cannot compare them."""
    varying = differing_fields(records)
    require_comparable_over(metric, varying)
    return varying


def require_comparable_over(metric: str, fields: list[str]) -> None:
    """Raise UserError if the metric cannot rank experiments that differ in these fields (columns)."""
    known = aspects()
    changed = {name: _aspects_of(name, known) for name in fields}
    barred = _barring(METRICS[metric], changed)
    if barred:
        others = [column for column in RANKING_METRICS if not _barring(METRICS[column], changed)]
        raise UserError(
            f"must be comparable between trials, got {metric!r} where {', '.join(barred)} differ: "
            f"{METRICS[metric].why_not_comparable}; rank by {', '.join(others[:-1])} or {others[-1]}",
            field="metric",
        )


def _barring(metric: Metric, changed: dict[str, frozenset[Aspect]]) -> list[str]:
    return [name for name, changes in changed.items() if changes & metric.not_across]


def _aspects_of(name: str, known: dict[str, frozenset[Aspect]]) -> frozenset[Aspect]:
    while name not in known and "_" in name:
        name = name.rpartition("_")[0]
    return known.get(name, frozenset(Aspect))
