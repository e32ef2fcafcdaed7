"""Which gRPC status each outcome is: the only place that knows both the driver's errors and gRPC's codes."""

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NoReturn

import grpc
from grpc import StatusCode

from csi_driver import errors, log
from csi_driver.csi.attributes import pod_named
from csi_driver.inflight import Dropped
from csi_driver.tracing import Tracing

# (method, name of the code, seconds): what metrics are made of.
Observe = Callable[[str, str, float], None]

# kubelet copies the message into an event of the Pod, and gRPC carries it in a header.
LONGEST_MESSAGE = 2048

# Walked over the error's MRO. Where two errors have one code, the first is what a client makes of it.
CODES = MappingProxyType(
    {
        errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
        errors.NotFound: StatusCode.NOT_FOUND,
        errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
        errors.AccessDenied: StatusCode.PERMISSION_DENIED,
        errors.NoSpace: StatusCode.RESOURCE_EXHAUSTED,
        errors.Unavailable: StatusCode.UNAVAILABLE,
        errors.StillPulling: StatusCode.DEADLINE_EXCEEDED,
        errors.Busy: StatusCode.ABORTED,
        errors.Conflict: StatusCode.ALREADY_EXISTS,
        errors.UnsupportedArtifact: StatusCode.FAILED_PRECONDITION,
        errors.ContentMismatch: StatusCode.DATA_LOSS,
        errors.Stopping: StatusCode.UNAVAILABLE,
        Dropped: StatusCode.CANCELLED,
        NotImplementedError: StatusCode.UNIMPLEMENTED,  # raised by the generated services for what is not offered
    }
)
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

# Calls that change something are worth a line each; kubelet repeats all others every few seconds.
_CHANGES = frozenset({"NodePublishVolume", "NodeUnpublishVolume", "Pull", "Verify", "Collect"})
# The caller asks again, and is meant to.
_EXPECTED = frozenset(
    {StatusCode.DEADLINE_EXCEEDED, StatusCode.ABORTED, StatusCode.CANCELLED, StatusCode.UNIMPLEMENTED}
)


def code_of(error: BaseException) -> StatusCode:
    """The status code of an error."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return StatusCode.RESOURCE_EXHAUSTED
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), StatusCode.INTERNAL)


def error_of(code: StatusCode, message: str) -> errors.DriverError:
    """The error that a client makes of a status: the inverse of `code_of` as far as codes can tell."""
    kinds = (kind for kind, its_code in CODES.items() if its_code is code and issubclass(kind, errors.DriverError))
    return next(kinds, errors.DriverError)(message)


def message_of(error: BaseException, method: str) -> str:
    """What the caller is told: the driver's own words, and of foreign errors nothing that could hold a secret."""
    if isinstance(error, errors.DriverError):
        return printable(str(error))
    if isinstance(error, NotImplementedError):
        return f"this driver does not offer {method}"
    if isinstance(error, Dropped):
        return "the caller left"
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if isinstance(error.filename, str) else ""
        return printable(f"{method} failed on the node: {error.strerror}{where}; the driver's log has the details")
    return f"{method} failed on an internal error ({type(error).__name__}); the driver's log has the details"


def printable(text: str) -> str:
    """`text` on one line, without control characters, as valid UTF-8 of at most `LONGEST_MESSAGE` bytes."""
    line = " ".join("".join(char if char.isprintable() else _escaped(char) for char in text).split())
    data = line.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_MESSAGE:
        return data.decode()
    return data[: LONGEST_MESSAGE - 3].decode(errors="ignore") + "…"


def _escaped(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode()


class StatusInterceptor(grpc.ServerInterceptor):
    """Turns what a service raises into a status, logs the outcome, reports it to `observe` and traces it."""

    def __init__(self, *, observe: Observe, tracing: Tracing) -> None:
        self._observe = observe
        self._tracing = tracing

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method.rpartition("/")[2]
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._streaming(method, handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._single(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        return handler

    def _single(self, method: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            outcome = _Outcome(method, request, self._observe)
            try:
                with outcome.context(), outcome.span(self._tracing, context):
                    response = behaviour(request, context)
            except Exception as error:  # noqa: BLE001  the edge of the driver: every error becomes a status here
                outcome.failed(error, context)
            outcome.ended()
            return response

        return call

    def _streaming(self, method: str, behaviour: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            outcome = _Outcome(method, request, self._observe)
            try:
                yield from behaviour(request, context)
            except GeneratorExit:  # gRPC closes the stream of a client that left
                outcome.left()
                raise
            except Exception as error:  # noqa: BLE001  the edge of the driver: every error becomes a status here
                outcome.failed(error, context)
            outcome.ended()

        return call


class _Outcome:
    """How one call ended."""

    def __init__(self, method: str, request: Any, observe: Observe) -> None:
        self._method = method
        self._volume = getattr(request, "volume_id", None)
        self._pod = pod_named(getattr(request, "volume_context", {}))
        self._observe = observe
        self._started = time.monotonic()

    def context(self) -> AbstractContextManager[None]:
        """Names the call in whatever is logged on its behalf."""
        return log.context(rpc=self._method, volume=self._volume, pod=self._pod)

    def span(self, tracing: Tracing, context: grpc.ServicerContext) -> AbstractContextManager[None]:
        """Covers a call that changes something; of the others there would be thousands."""
        if self._method not in _CHANGES:
            return nullcontext()
        carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return tracing.span(self._method, carrier, volume=self._volume, pod=self._pod)

    def ended(self) -> None:
        self._tell(StatusCode.OK, logging.INFO if self._method in _CHANGES else logging.DEBUG)

    def left(self) -> None:
        self._tell(StatusCode.CANCELLED, logging.INFO)

    def failed(self, error: Exception, context: grpc.ServicerContext) -> NoReturn:
        code, message = code_of(error), message_of(error, self._method)
        if isinstance(error, errors.DriverError) or code in _EXPECTED:
            self._tell(code, logging.INFO if code in _EXPECTED else logging.WARNING, reason=message)
        else:
            self._tell(code, logging.ERROR, reason=message, error=error)
        context.abort(code, message)

    def _tell(self, code: StatusCode, level: int, *, reason: str | None = None, error: Exception | None = None) -> None:
        seconds = time.monotonic() - self._started
        self._observe(self._method, code.name, seconds)
        with self.context():
            log.event("call ended", level=level, error=error, code=code.name, seconds=seconds, reason=reason)
