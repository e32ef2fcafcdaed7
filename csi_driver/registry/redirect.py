"""Following redirects without carrying credentials away (RFC 9110, section 15.4)."""

from dataclasses import replace

from csi_driver.errors import Unavailable
from csi_driver.inflight import Deadline
from csi_driver.registry.message import Answer, Request, Send
from csi_driver.registry.url import Url

MAX_REDIRECTS = 10
ALL_HOPS_SECONDS = 60.0
"""For the answers of all hosts on the way together, so that eleven slow ones do not add up."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def follow(send: Send, request: Request) -> Answer:
    """The answer at the end of the redirects; its `url` says where that was. Only GET and HEAD are redirected.

    `Authorization`, the host's own headers and client certificates go to the first origin and no further; every other
    header, such as Range, goes along. Raises `Unavailable` for a redirect that leaves HTTPS or HTTP, that drops TLS,
    that is the eleventh, or that comes after `ALL_HOPS_SECONDS`.
    """
    deadline = min(request.deadline, Deadline.after(ALL_HOPS_SECONDS), key=lambda one: one.at)
    for _ in range(MAX_REDIRECTS + 1):
        answer = send(request)
        if answer.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
            return answer
        target = _target(answer)
        if target.origin != request.url.origin:
            request = replace(request, authorization=None, own_headers={}, trust=request.trust.elsewhere)
        request = replace(request, url=target, deadline=deadline)
    raise Unavailable(f"{request.url.authority} redirected more than {MAX_REDIRECTS} times")


def _target(answer: Answer) -> Url:
    location = answer.headers.get("location", "")
    try:
        if not location:
            raise ValueError("it has no Location")  # noqa: TRY301  all that is wrong with it is told below
        target = answer.url.join(location)
    except ValueError as error:
        raise Unavailable(f"{answer.url.place} redirects to what cannot be followed: {error}") from None
    if answer.url.scheme == "https" and target.scheme == "http":
        raise Unavailable(f"{answer.url.place} redirects to plain HTTP at {target.authority}, which is refused")
    return target
