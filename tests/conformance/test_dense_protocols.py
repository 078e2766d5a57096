"""One contract for every dense protocol, and how the evaluations of sweeps refuse them."""

import pytest

from darl.errors import UserError
from darl.evaluation.dense.base import DenseProtocol, named_in
from darl.evaluation.protocol import Protocol, Protocols
from darl.metrics import DENSE_METRICS, METRICS
from darl.results.schema import trials_schema

PROTOCOLS = [kind() for kind in DenseProtocol.kinds().values()]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_dense_protocols_metrics_are_registered_and_stand_in_no_table(protocol: DenseProtocol) -> None:
    assert protocol.gives
    assert all(DENSE_METRICS[metric.column] is metric for metric in protocol.gives)
    assert not {metric.column for metric in protocol.gives} & {*METRICS, *trials_schema().names}
    assert all(metric.format_value(0.1234) == "12.3 %" for metric in protocol.gives)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
def test_a_dense_protocol_is_refused_where_images_have_labels(protocol: DenseProtocol) -> None:
    message = rf"^protocols must be of labelled images here: {protocol.kind} reads .*, by `darl evaluate` alone, got "
    for text in (protocol.kind, f"linear,{protocol}", f"{protocol},knn:neighbours=10"):
        assert named_in(text) == protocol.kind
        with pytest.raises(UserError, match=message):
            Protocols.parse(text)


def test_the_families_share_no_kind_and_no_metric() -> None:
    assert not DenseProtocol.kinds().keys() & Protocol.kinds().keys()
    given = [metric.column for protocol in PROTOCOLS for metric in protocol.gives]
    assert sorted(given) == sorted(DENSE_METRICS)
    assert named_in("linear:block=2,knn") is None
