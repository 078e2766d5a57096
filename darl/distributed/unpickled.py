"""What Tune pickles for a restore that darl never makes: searchers, schedulers and callbacks."""

__all__ = ["Unpickled"]


class Unpickled:
    """Has nothing to pickle: Tune would save it for a restore, but a sweep continues from its tables."""

    def __getstate__(self) -> dict[str, object]:
        return {}
