"""WWW-Authenticate as registries write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.registry.challenge import Challenge, parse_challenges

REALM = "https://auth.example.com/token?account=a,b"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ()),
        ("", ()),
        ('Basic realm="x"', (Challenge("basic", {"realm": "x"}),)),
        (
            f'Bearer realm="{REALM}",service="reg",scope="repository:a/b:pull,push"',
            (Challenge("bearer", {"realm": REALM, "service": "reg", "scope": "repository:a/b:pull,push"}),),
        ),
        (
            "BEARER Realm=https://auth.example.com/token , SERVICE = reg",
            (Challenge("bearer", {"realm": "https://auth.example.com/token", "service": "reg"}),),
        ),
        (
            'Negotiate, Bearer realm="r", Basic realm="b"',
            (Challenge("negotiate"), Challenge("bearer", {"realm": "r"}), Challenge("basic", {"realm": "b"})),
        ),
        (
            'Negotiate YIIabc+/def==, Digest qop="a,b", Bearer realm="r"',
            (Challenge("negotiate"), Challenge("digest", {"qop": "a,b"}), Challenge("bearer", {"realm": "r"})),
        ),
        (
            r'Bearer realm="a \"quoted\" name",error="invalid_token"',
            (Challenge("bearer", {"realm": 'a "quoted" name', "error": "invalid_token"}),),
        ),
        ('Bearer realm="unterminated', (Challenge("bearer", {"realm": "unterminated"}),)),
        ('Bearer realm="first",realm="second"', (Challenge("bearer", {"realm": "first"}),)),
        ('Bearer ,, realm="r" ,, Basic', (Challenge("bearer", {"realm": "r"}), Challenge("basic"))),
        ('realm="nobody\'s", Basic realm="b"', (Challenge("basic", {"realm": "b"}),)),
        ('Bearer =, "junk" ;;, realm="r"', (Challenge("bearer", {"realm": "r"}),)),
    ],
)  # fmt: skip
def test_r4_challenges_are_read_as_they_come(header: str | None, expected: tuple[Challenge, ...]) -> None:
    parsed = parse_challenges(header)
    assert [(one.scheme, dict(one.parameters)) for one in parsed] == [
        (one.scheme, dict(one.parameters)) for one in expected
    ]


TOKENS = st.from_regex(r"[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,8}", fullmatch=True)
PARAMETERS = st.dictionaries(TOKENS, st.text(), min_size=1, max_size=4)


@given(st.lists(st.tuples(TOKENS, PARAMETERS), max_size=4))
def test_whatever_is_written_by_the_grammar_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(f"{scheme} " + ", ".join(map(quoted, values.items())) for scheme, values in challenges)
    assert [(one.scheme, one.parameters) for one in parse_challenges(header)] == challenges


def quoted(parameter: tuple[str, str]) -> str:
    escaped = parameter[1].replace("\\", "\\\\").replace('"', '\\"')
    return f'{parameter[0]}="{escaped}"'


@given(st.text(alphabet='Ba= ,"\\\t\n~é', max_size=60))
def test_no_header_is_too_odd(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
