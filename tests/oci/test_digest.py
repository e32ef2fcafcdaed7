"""Digests: image-spec descriptor.md, "Digests"."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.oci.digest import EMPTY_DIGEST, Digest

ALGORITHMS = st.sampled_from(["sha256", "sha512"])


@given(st.binary(), ALGORITHMS)
def test_a_digest_written_and_parsed_is_the_same_digest(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)

    assert Digest.parse(str(digest)) == digest


@given(st.binary(), ALGORITHMS)
def test_its_hasher_comes_to_the_same_digest(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)

    hasher = digest.hasher()
    hasher.update(data)

    assert hasher.hexdigest() == digest.hex


@given(st.text())
def test_any_other_text_is_refused_with_a_value_error(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except ValueError:
        return
    assert str(digest) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:ABCDEF" + "0" * 58,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "0" * 64 + "\n",
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "sha256:../../" + "0" * 58,
        "SHA256:" + "0" * 64,
        "../x:" + "0" * 64,
        "sha256:" + "g" * 64,
    ],
)
def test_a31_a_digest_that_is_malformed_short_or_a_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        Digest.parse(text)


def test_a32_sha512_can_be_verified() -> None:
    text = "sha512:" + hashlib.sha512(b"model").hexdigest()

    assert Digest.parse(text) == Digest.of(b"model", "sha512")


def test_a32_blake3_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'blake3' is not supported: use sha256 or sha512"):
        Digest.parse("blake3:" + "0" * 64)


def test_the_digest_of_nothing_is_known() -> None:
    assert str(EMPTY_DIGEST) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_an_algorithm_that_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ValueError, match="md5"):
        Digest.of(b"", "md5")
