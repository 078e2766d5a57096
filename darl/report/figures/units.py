"""What is measured, in a reader's units: accuracies in percent, their differences in points, losses as they are."""

from dataclasses import dataclass

from darl.metrics import is_loss, metric_name
from darl.report.format import score

__all__ = ["Quantity", "quantity"]


@dataclass(frozen=True)
class Quantity:
    """A metric's column, and how its values are told."""

    column: str
    name: str

    @property
    def rising(self) -> bool:
        """Whether more is better: of accuracies."""
        return not is_loss(self.column)

    @property
    def factor(self) -> int:
        """From the table's value to the axis's."""
        return 100 if self.rising else 1

    @property
    def unit(self) -> str:
        """Of differences."""
        return "points" if self.rising else "MSE"

    @property
    def axis(self) -> str:
        """An axis's label with its unit."""
        return f"{self.name}, top-1 (%)" if self.rising else f"{self.name} (MSE)"

    def text(self, value: float) -> str:
        """`91.4 %`; nothing for a value that is not there."""
        return score(value, self.column)


def quantity(column: str) -> Quantity:
    """Of a column of the tables."""
    gamma = column.removeprefix("val_loss_gamma_")
    known = metric_name(column)
    return Quantity(column, known if gamma == column else f"validation loss at gamma {gamma.replace('_', '.')}")
