"""The one error that means: the user can mend this."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A value from the user that cannot be used; the message names the field, the value and the remedy.

    Commands print it as one line and exit with code 2. Everything else that is raised is a bug, with its traceback.
    """
