"""The one error that means: the user can mend this."""

__all__ = ["UserError", "named", "reason"]


class UserError(ValueError):
    """A value from the user that cannot be used; the message names the field, the value and the remedy.

    Commands print it as one line and exit with code 2. Everything else that is raised is a bug, with its traceback.
    """


def reason(error: Exception) -> str:
    """An error in one line, without the indented lines where Ray tells its ids."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(" ".join(line for line in text.splitlines() if not line.startswith("\t")).split())[:300]


def named(error: Exception) -> str:
    """An error's type and message in one line."""
    return f"{type(error).__name__}: {reason(error)}"
