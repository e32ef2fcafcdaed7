"""URLs in parts."""

import pytest

from csi_driver.registry.url import Url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://R.io", "https://r.io/"),
        ("https://r.io:443/a", "https://r.io/a"),
        ("http://r.io:443/a", "http://r.io:443/a"),
        ("https://user:secret@r.io/a", "https://r.io/a"),
        ("https://[::1]:5000/a b?c=d e&f=%2F#g", "https://[::1]:5000/a%20b?c=d%20e&f=%2F"),
        ("https://r.io?x", "https://r.io/?x"),
        ("https://r.io/é\r\nX: y", "https://r.io/%C3%A9X:%20y"),
    ],
)
def test_a_url_is_written_as_it_goes_out(text: str, shown: str) -> None:
    assert str(Url.parse(text)) == shown
    assert Url.parse(shown) == Url.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "/v2/", "ftp://r.io/", "file:///etc/passwd", "https://", "https://r.io:x/", "https://[::1",
     "https://r.io:99999/", "https://ré.io/", "https://10.0.0.1\\.r.io/token", "https://r%2eio/", "https://r.io,s.io/",
     "https://[::1%\\.r.io]/"],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"its scheme|it is|it names"):
        Url.parse(text)


def test_messages_hold_no_query() -> None:
    url = Url.parse("https://r.io:8443/blob?signature=secret")
    assert url.place == "https://r.io:8443/blob"
    assert "secret" not in repr(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/other?a=b", "https://r.io/other?a=b"),
        ("next", "https://r.io/v2/next"),
        ("//s.io/x", "https://s.io/x"),
        ("https://s.io:444/x", "https://s.io:444/x"),
    ],
)
def test_a_location_may_be_relative(location: str, expected: str) -> None:
    assert str(Url.parse("https://r.io/v2/x").join(location)) == expected


def test_a_query_is_added_to_the_one_that_is_there() -> None:
    assert (
        str(Url.parse("https://r.io/up?state=a%2Bb").with_query("digest=x")) == "https://r.io/up?state=a%2Bb&digest=x"
    )
    assert str(Url.parse("https://r.io/up").with_query("digest=x")) == "https://r.io/up?digest=x"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_this_machine_is_known(host: str) -> None:
    assert Url.parse(f"http://{host}:80/").is_loopback


@pytest.mark.parametrize("host", ["localhost.example.com", "10.0.0.1", "mylocalhost"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not Url.parse(f"http://{host}/").is_loopback
