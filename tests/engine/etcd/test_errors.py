"""What is said of a write that failed: nothing was done, or nobody knows."""

import pytest
from callboard.registry.engine import CannotStart, OutcomeUnknown, Refused
from callboard.registry.engine.etcd.errors import (
    Full,
    NotReached,
    TokenRejected,
    Unsettled,
    Unwritable,
    read_error,
)
from callboard.registry.engine.etcd.rpc import NotSent, RpcError, StatusCode
from callboard.registry.engine.etcd.versions import check_version


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (StatusCode.UNAVAILABLE, "etcdserver: no leader", NotReached),
        (StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner", NotReached),
        (StatusCode.UNAVAILABLE, "etcdserver: leader changed", OutcomeUnknown),
        (StatusCode.UNAVAILABLE, "etcdserver: request timed out", OutcomeUnknown),
        (
            StatusCode.UNAVAILABLE,
            "etcdserver: request timed out, possibly due to previous leader failure",
            OutcomeUnknown,
        ),
        (StatusCode.UNAVAILABLE, "etcdserver: server stopped", OutcomeUnknown),
        (StatusCode.UNAVAILABLE, "etcdserver: unhealthy cluster", Unsettled),
        (StatusCode.UNAVAILABLE, "the server closed the connection", OutcomeUnknown),
        (StatusCode.UNAVAILABLE, "the server has been silent for 8 s", OutcomeUnknown),
        (StatusCode.DEADLINE_EXCEEDED, "no answer in time", OutcomeUnknown),
        (StatusCode.CANCELLED, "context canceled", OutcomeUnknown),
        (StatusCode.INTERNAL, "", OutcomeUnknown),
        (StatusCode.UNKNOWN, "context deadline exceeded", OutcomeUnknown),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Full),
        (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests", Refused),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (3 vs. 2)",
            Refused,
        ),
        (
            StatusCode.RESOURCE_EXHAUSTED,
            "grpc: trying to send message larger than max (3 vs. 2)",
            OutcomeUnknown,
        ),
        (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", Refused),
        (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Unwritable),
        (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", TokenRejected),
    ],
)
def test_a_failure_is_what_it_certainly_is(code, details, kind):
    error = read_error(RpcError(code, details), "http://there")
    assert type(error) is kind
    assert isinstance(error, Refused) != isinstance(error, OutcomeUnknown)


def test_what_never_left_this_process_was_not_done():
    error = read_error(NotSent("Connection refused"), "http://there")
    assert type(error) is NotReached
    assert "http://there cannot be reached" in str(error)


@pytest.mark.parametrize("version", ["3.4.0", "3.4.23", "3.5.3", "3.5.21", "3.6.0", "4.0.0"])
def test_versions_that_keep_what_they_promise(version):
    check_version(version)


@pytest.mark.parametrize(
    ("version", "told"),
    [("3.5.0", "corrupts"), ("3.5.2", "corrupts"), ("3.3.27", "too old"), ("", "no etcd")],
)
def test_versions_that_do_not_are_refused(version, told):
    with pytest.raises(CannotStart, match=told):
        check_version(version)
