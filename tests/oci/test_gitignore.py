"""Gitignore patterns: the same answers as git gives, and never a hang."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.oci.gitignore import Patterns

globs = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*b", "[ab]", "[!a]", "[a-c]?", "\\*", "*[b.]*"])
lines = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(globs, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "/"]),
)
NAMES = ("a", "b", "ab", "*.b")
NO_CONFIGURATION = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
FILES = ["/".join(names) for count in (1, 2, 3) for names in product(NAMES, repeat=count)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("repository")
    git(home, "init", "--quiet").check_returncode()
    return home


def git(directory: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """What git does without whatever this machine or its user has configured, such as files to ignore everywhere."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(directory), "-c", f"core.excludesFile={os.devnull}", *arguments],
        env=inherited | NO_CONFIGURATION,
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )


def deciding(repository: Path, patterns: Sequence[str], files: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Each file, with the number and the text of the pattern that decides about it in git; 0 where none does."""
    (repository / ".git/info/exclude").write_text("\n".join(patterns) + "\n")
    asked = ("check-ignore", "--no-index", "--verbose", "--non-matching", "--stdin", "-z")
    answered = git(repository, *asked, said="\0".join(files)).stdout.split("\0")
    for _, number, pattern, file in zip(*(iter(answered[:-1]),) * 4, strict=True):
        yield file, int(number or 0), pattern


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, min_size=1, max_size=3))
def test_patterns_mean_what_they_mean_to_git(repository: Path, patterns: list[str]) -> None:
    ours = Patterns.parse(patterns)
    for file, number, pattern in deciding(repository, patterns, FILES):
        excluded = bool(pattern) and not pattern.startswith("!")
        if ours.excludes(file) is not True and excluded:
            # git looks at nothing in a directory that is excluded; here a later pattern may bring it back
            assert any(later.startswith("!") for later in patterns[number:])
            assert Patterns.parse(patterns[:number]).excludes(file)
        else:
            assert bool(ours.excludes(file)) is excluded


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_a_pattern_or_a_value_error(line: str, path: str) -> None:
    try:
        patterns = Patterns.parse([line])
    except ValueError:
        return
    assert patterns.excludes(path) in {True, False, None}


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        (["*.bin"], "a.bin", True),
        (["*.bin"], "d/e/a.bin", True),
        (["*.bin"], "a.bin.txt", None),
        (["/a.bin"], "a.bin", True),
        (["/a.bin"], "d/a.bin", None),
        (["d/a.bin"], "d/a.bin", True),
        (["d/a.bin"], "e/d/a.bin", None),
        (["d/"], "d/a/b", True),
        (["d/"], "d", None),
        (["d"], "d/a", True),
        (["d"], "e/d", True),
        (["d/**"], "d/a/b", True),
        (["d/**"], "d", None),
        (["**/d"], "e/f/d", True),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/*/b"], "a/x/y/b", None),
        (["**"], "a/b", True),
        (["*", "!a.json"], "a.json", False),
        (["*", "!a.json"], "d/a.json", False),
        (["!a.json", "*"], "a.json", True),
        (["*", "!d/"], "d/a", True),
        (["d/", "!d/a"], "d/a", False),
        (["!a", "d/"], "d/a", True),
        (["!*.bin", "d"], "d/e/a.bin", True),
        (["d/", "!d/"], "d/a", False),
        (["a", "!d/"], "d/a", True),
        (["d/", "!d/e/"], "d/e/a", False),
        (["!d/e/", "d/"], "d/e/a", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", None),
        (["a[!b]c"], "adc", True),
        (["a[!b]c"], "abc", None),
        (["a[^b]c"], "adc", True),
        (["a[]]c"], "a]c", True),
        (["a[a-]c"], "a-c", True),
        (["a[\\]]c"], "a]c", True),
        (["a[*?]c"], "a*c", True),
        (["a[*?]c"], "abc", None),
        (["\\!a"], "!a", True),
        (["\\#a"], "#a", True),
        (["\\*"], "*", True),
        (["\\*"], "a", None),
        (["a "], "a", True),
        (["a\\ "], "a ", True),
        (["a\\  "], "a ", True),
        ([" a"], " a", True),
        (["# comment", "", "   ", "/"], "a", None),
        (["a*c"], "a\nc", True),
        (["é*"], "élan", True),
        (["*[ab]*c*"], "xxbyyczz", True),
        (["*a*a*"], "a", None),
        (["a*"], "a", True),
        (["A"], "a", None),
    ],
)
def test_a_pattern_names_what_gitignore_says(patterns: list[str], path: str, excluded: bool | None) -> None:
    assert Patterns.parse(patterns).excludes(path) is excluded


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a[b", "has no ]"),
        ("[", "has no ]"),
        ("[]", "has no ]"),
        ("[!]", "has no ]"),
        ("a\\", "backslash"),
        ("[b-a]", "range b-a is empty"),
        ("[[:digit:]]", "named character classes"),
        ("a//b", "empty component"),
        ("!", "empty component"),
        ("//", "empty component"),
        ("!/", "empty component"),
    ],
)
def test_a_broken_pattern_is_refused_by_name(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Patterns.parse(["good", pattern])

    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("*a" * 500 + "b", "a" * 255), ("**/a/" * 200 + "b", "a/" * 2000 + "c"), ("?*" * 500, "a" * 255)],
    ids=["stars", "double stars", "question marks"],
)
def test_patterns_made_to_backtrack_for_ages_are_answered(pattern: str, path: str) -> None:
    assert Patterns.parse([pattern]).excludes(path) is None
