"""Errors that commands print as one line, and functions that write any other error in one line."""

__all__ = ["TableWriteError", "UserError", "one_line", "reason"]


class UserError(ValueError):
    """A value from the user that cannot be used; the text names the field, the value and the remedy.

    Commands print it as one line, with the flag in place of the field (`darl.cli.fields`), and exit with code 2.
    Any other exception but TableWriteError is a bug and is shown with its traceback.

    Args:
        message: what follows the field's name, "must REMEDY, got VALUE"; without `field`, the whole sentence.
        field: a field of the record by its dotted path (`noise.a`), or another argument by its name (`results`).

    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field} {message}" if field else message)
        self.field, self.message = field, message


class TableWriteError(OSError):
    """A file of the result tables could not be written; the tables are unchanged. Commands exit with code 1."""


def reason(error: Exception) -> str:
    """An error's message in one line of up to 300 characters, without the indented lines in which Ray lists its ids."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(" ".join(line for line in text.splitlines() if not line.startswith("\t")).split())[:300]


def one_line(error: Exception) -> str:
    """An error's type and message in one line."""
    return f"{type(error).__name__}: {reason(error)}"
