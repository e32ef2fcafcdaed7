"""References: the grammar and the defaults of github.com/distribution/reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import InvalidRequest
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference

SHA256 = "sha256:" + "a" * 64
SHA512 = "sha512:" + "b" * 128

hosts = st.one_of(
    st.just("docker.io"),
    st.from_regex(
        r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?(\.[a-z0-9]{1,5}){1,2}(:[1-9][0-9]{0,3})?", fullmatch=True
    ),
    st.from_regex(r"localhost(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"\[:[0-9a-f:]{1,12}\](:[1-9][0-9]{0,3})?", fullmatch=True),
)
repositories = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,3}(/[a-z0-9]+(-[a-z0-9]+)?){0,3}", fullmatch=True)
tags = st.none() | st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", fullmatch=True)
digests = st.none() | st.binary(max_size=3).map(Digest.of)


@given(hosts, repositories, tags, digests)
def test_a_reference_written_and_parsed_is_the_same_reference(
    host: str, repository: str, tag: str | None, digest: Digest | None
) -> None:
    text = f"{host}/{repository}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    reference = Reference.parse(text)

    assert Reference.parse(str(reference)) == reference
    assert reference.digest == digest
    assert reference.tag == (tag if tag or digest else "latest")


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_an_invalid_request(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidRequest:
        return
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("gpt2", "docker.io/library/gpt2:latest"),
        ("org/m", "docker.io/org/m:latest"),
        ("docker.io/gpt2", "docker.io/library/gpt2:latest"),
        ("index.docker.io/org/m:v1", "docker.io/org/m:v1"),
        ("localhost/m", "localhost/m:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("h:5000/m", "h:5000/m:latest"),
        ("UP/m", "UP/m:latest"),
        ("h.io/m:t@" + SHA256, "h.io/m:t@" + SHA256),
        ("h.io/m@" + SHA512, "h.io/m@" + SHA512),
        ("[::1]:5/m", "[::1]:5/m:latest"),
        ("oci://registry.io/a/b:c", "registry.io/a/b:c"),
        ("registry.io/a__b/c---d.e:_T.-1", "registry.io/a__b/c---d.e:_T.-1"),
        ("h.io/" + "a" * 255, "h.io/" + "a" * 255 + ":latest"),
        ("h.io/m:" + "t" * 128, "h.io/m:" + "t" * 128),
    ],
)
def test_r19_a_good_reference_has_one_canonical_form(text: str, canonical: str) -> None:
    assert str(Reference.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("h/M", "lower case"),
        ("h/m:", "not a tag"),
        ("h//m", "component"),
        ("/m", "component"),
        ("m/", "component"),
        (":tag", "repository is missing"),
        ("h.io/:tag", "component"),
        ("a" * 64, "image id"),
        ("http://h/m", "without a scheme"),
        ("docker://h.io/m", "without a scheme"),
        ("oci://https://h/m", "without a scheme"),
        ("h.io/" + "a" * 256, "longer than 255"),
        ("h.io/m:" + "t" * 129, "not a tag"),
        ("h.io/m:-t", "not a tag"),
        ("h.io/m@sha256:abc", "lower-case hex"),
        ("h.io/m@blake3:" + "0" * 64, "'blake3' is not supported"),
        ("h.io/m@", "digest"),
        ("h.io/m@" + SHA256 + "@" + SHA256, "digest"),
        ("h.io/m x", "white space"),
        (" h.io/m", "white space"),
        ("h.io/m\n", "white space"),
        ("h.io/modèle", "ASCII"),
        ("h.io/m?x=1", "component"),
        ("user:pass@h.io/m", "belong into a Secret"),
        ("-h.io/m", "host name"),
        ("h_.io/m", "host name"),
        ("h.io:0/m", "port"),
        ("h.io:65536/m", "port"),
        ("h.io:/m", "host name"),
        ("h.io/a..b", "component"),
        ("h.io/../m", "component"),
    ],
)
def test_r19_a_bad_reference_is_an_invalid_request_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        Reference.parse(text)


@pytest.mark.parametrize(
    "text",
    ["https://user:hunter2@registry.io/m", "user:p@hunter2@registry.io/m", "oci://user:hunter2/4@registry.io:5000/m:v1",
     "https://user:hunter2:@registry.io/m@sha256:0"],
)  # fmt: skip
def test_a_password_in_a_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(
        InvalidRequest, match=r"user:.*registry\.io.*belong into a Secret|user:.*without a scheme"
    ) as caught:
        Reference.parse(text)
    assert "hunter2" not in str(caught.value)


def test_what_is_no_password_is_repeated() -> None:
    with pytest.raises(InvalidRequest, match=r"'registry\.io:5000/m:v1@sha256:0' is invalid"):
        Reference.parse("registry.io:5000/m:v1@sha256:0")


def test_the_digest_decides_where_there_is_also_a_tag() -> None:
    assert Reference.parse("h.io/m:v1@" + SHA256).selector == SHA256


def test_without_a_digest_the_tag_selects() -> None:
    assert Reference.parse("h.io/m:v1").selector == "v1"


def test_a_digest_alone_has_no_default_tag() -> None:
    assert Reference.parse("h.io/m@" + SHA256).tag is None


def test_pinning_keeps_the_name_and_the_tag() -> None:
    digest = Digest.parse(SHA256)

    assert str(Reference.parse("h.io/m:v1").at(digest)) == "h.io/m:v1@" + SHA256


def test_docker_hub_is_reached_under_another_name() -> None:
    assert Reference.parse("gpt2").api_host == "registry-1.docker.io"
    assert Reference.parse("h.io:5000/m").api_host == "h.io:5000"
