"""Following redirects without carrying credentials away (RFC 9110, section 15.4)."""

from dataclasses import replace

from csi_driver.errors import Unavailable
from csi_driver.registry.message import Answer, Request, Send
from csi_driver.registry.url import Url

MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def follow(send: Send, request: Request) -> Answer:
    """The answer at the end of the redirects; its `url` says where that was. Only GET and HEAD are redirected.

    `Authorization` goes to the first origin and no further; every other header, such as Range, goes along. Raises
    `Unavailable` for a redirect that leaves HTTPS or HTTP, that drops TLS, or that is the eleventh.
    """
    for _ in range(MAX_REDIRECTS + 1):
        answer = send(request)
        if answer.status not in _REDIRECTS or request.method not in ("GET", "HEAD"):
            return answer
        target = _target(answer)
        stays = target.origin == request.url.origin
        request = replace(request, url=target, authorization=request.authorization if stays else None)
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
