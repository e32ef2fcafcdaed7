"""pull, list, mount and umount: what they ask of the driver, how patient they are, and what they print."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_driver import errors
from csi_driver.cli.exits import ExitCode
from csi_driver.inflight import Wait
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.selection import Selection
from csi_driver.verifier.report import Finding, Report, Scope
from csi_driver.volumes.collector import Collected, Item
from csi_driver.volumes.inventory import CachedModel
from csi_driver.volumes.volume import PublishSpec
from tests.cli.conftest import Command
from tests.csi.conftest import Driver

REFERENCE = "registry.example.com/team/model:v1"
DIGEST = "sha256:" + "a" * 64


def failing(*outcomes: Exception) -> Callable[..., None]:
    """Raises these, one a call, and then nothing."""
    left = list(outcomes)

    def fail(*_: object) -> None:
        if left:
            raise left.pop(0)

    return fail


def test_a_mount_is_the_publish_of_a_kubelet(at_driver: Command, driver: Driver, tmp_path: Path) -> None:
    target = tmp_path / "pods" / "one" / "mount"
    secret = tmp_path / "secret.yaml"
    secret.write_text("username: ann\npassword: geheim\n")
    outcome = at_driver(
        "mount", REFERENCE, target, "--secret", secret, "--attribute", "pullPolicy=Never",
        "--attribute", 'model.csi.modelpack.org/exclude-file-patterns=["*.bin"]',
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (0, f"mounted {REFERENCE} at {target}\n")
    spec = driver.publisher.specs[0]
    assert (str(spec.reference), spec.target_path, spec.policy) == (REFERENCE, target, PullPolicy.NEVER)
    assert spec.selection.exclude_patterns == ("*.bin",)
    assert spec.keychain is not None
    assert [one.username for one in spec.keychain.credentials("registry.example.com", "team/model")] == ["ann"]
    assert target.parent.is_dir()
    assert not target.exists()  # the target itself is made by the driver


def test_the_volume_id_follows_from_the_absolute_path_of_the_target(
    at_driver: Command, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpublished: list[tuple[str, Path]] = []
    driver.publisher.on_unpublish = lambda volume_id, target: unpublished.append((volume_id, target))
    monkeypatch.chdir(tmp_path)
    mounted = at_driver("mount", REFERENCE, "some/../model", "--output", "json").document
    unmounted = at_driver("umount", tmp_path / "model", "--output", "json").document
    volume_id = "cli-" + hashlib.sha256(bytes(tmp_path / "model")).hexdigest()
    assert mounted.pop("seconds") >= 0
    assert mounted == {"reference": REFERENCE, "target": str(tmp_path / "model"), "volumeId": volume_id}
    assert unmounted == {"target": str(tmp_path / "model"), "volumeId": volume_id}
    assert [driver.publisher.specs[0].volume_id] == [volume_id]
    assert unpublished == [(volume_id, tmp_path / "model")]


def test_an_unmount_waits_for_other_calls_on_the_volume(at_driver: Command, driver: Driver, tmp_path: Path) -> None:
    driver.publisher.on_unpublish = failing(errors.Busy("another call is at work on csi-1"))
    outcome = at_driver("umount", tmp_path / "model")
    assert (outcome.code, outcome.out) == (0, f"unmounted {tmp_path / 'model'}\n")
    assert outcome.err == "another call is at work on csi-1; trying again\n"


def test_the_volume_id_can_be_given(at_driver: Command, driver: Driver, tmp_path: Path) -> None:
    at_driver("mount", REFERENCE, tmp_path / "model", "--volume-id", "csi-1")
    assert driver.publisher.specs[0].volume_id == "csi-1"


def test_a_mount_goes_on_asking_while_the_model_is_pulled(at_driver: Command, driver: Driver, tmp_path: Path) -> None:
    text = f"pulling {REFERENCE}: 47 % (12.3 of 26.1 GiB, 412 MiB/s, 34 s left)"
    driver.publisher.on_publish = failing(*[errors.StillPulling(text)] * 20)
    outcome = at_driver("mount", REFERENCE, tmp_path / "model")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(driver.publisher.specs) == 21


def test_calls_grow_longer_while_the_driver_cannot_tell_how_far_it_is(
    at_driver: Command, driver: Driver, tmp_path: Path
) -> None:
    waits: list[float] = []

    def note(_: PublishSpec, wait: Wait) -> None:
        waits.append(wait.deadline.remaining())
        if len(waits) < 4:
            told = "47 % (12.3 of 26.1 GiB)" if len(waits) == 3 else "the registry has not answered yet"
            raise errors.StillPulling(f"pulling {REFERENCE}: {told}")

    driver.publisher.on_publish = note
    outcome = at_driver("mount", REFERENCE, tmp_path / "model")
    assert outcome.code == 0
    assert [round(wait / 5) for wait in waits] == [1, 2, 4, 1]
    assert outcome.err == f"pulling {REFERENCE}: the registry has not answered yet\n"


@pytest.mark.parametrize("outcome", [errors.StillPulling("47 % (1 of 2 B)"), errors.Busy("busy")])
def test_a_timeout_ends_all_patience(
    at_driver: Command, driver: Driver, tmp_path: Path, outcome: errors.DriverError
) -> None:
    def wait_and_fail(_: PublishSpec, wait: Wait) -> None:
        try:
            wait.until(lambda: False)
        except TimeoutError:
            raise outcome from None

    driver.publisher.on_publish = wait_and_fail
    ended = at_driver("mount", REFERENCE, tmp_path / "model", "--timeout", "0.2")
    assert ended.code in (ExitCode.UNAVAILABLE, ExitCode.BUSY)
    assert ended.err == f"Error: {outcome}\n"
    assert len(driver.publisher.specs) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest("text"), ExitCode.INVALID),
        (errors.NotFound("text"), ExitCode.NOT_FOUND),
        (errors.Unauthenticated("text"), ExitCode.DENIED),
        (errors.AccessDenied("text"), ExitCode.DENIED),
        (errors.NoSpace("text"), ExitCode.NO_SPACE),
        (errors.UnsupportedArtifact("text"), ExitCode.UNSUPPORTED),
        (errors.ContentMismatch("text"), ExitCode.UNSUPPORTED),
        (errors.Conflict("text"), ExitCode.BUSY),
        (errors.DriverError("text"), ExitCode.UNEXPECTED),
    ],
)
def test_what_the_driver_refuses_is_told_with_its_code(
    at_driver: Command, driver: Driver, tmp_path: Path, error: errors.DriverError, code: ExitCode
) -> None:
    driver.publisher.on_publish = failing(error)
    driver.puller.outcomes = [error]
    told = "Error: text\n" if type(error) is not errors.DriverError else "Error: "
    for outcome in (at_driver("mount", REFERENCE, tmp_path / "model"), at_driver("pull", REFERENCE)):
        assert (outcome.code, outcome.out) == (code, "")
        assert outcome.err.startswith(told)
    assert len(driver.publisher.specs) == 1


def test_a_pull_ends_with_what_came_of_it(at_driver: Command, driver: Driver) -> None:
    driver.puller.outcomes = [errors.StillPulling("1 %", fetched=1, total=100), errors.StillPulling("2 %", fetched=2)]
    outcome = at_driver("pull", REFERENCE)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"pulled {REFERENCE}: 3 files, 1000 B\ndigest {DIGEST}\n".replace("1000 B", "1.0 KiB")
    document = at_driver("pull", REFERENCE, "--output", "json").document
    assert document.pop("seconds") >= 0
    assert document == {"reference": REFERENCE, "digest": DIGEST, "size": 1000, "files": 3}


def test_a_pull_can_be_of_a_part_and_with_credentials(at_driver: Command, driver: Driver, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"auths": {"registry.example.com": {"username": "ann", "password": "geheim"}}}')
    outcome = at_driver(
        "pull", REFERENCE, "--exclude-model-weights", "--exclude-file-pattern", "*.md",
        "--exclude-file-pattern", "!README.md", "--include-file-pattern", "*.json", "--layer-role", "docs",
        "--layer-role", "config", "--pull-policy", "Always", "--secret", secret,
    )  # fmt: skip
    assert outcome.code == 0
    request = driver.puller.requests[0]
    assert request.selection == Selection(True, ("*.md", "!README.md"), ("*.json",), ("config", "docs"))
    assert request.policy is PullPolicy.ALWAYS
    assert request.keychain is not None
    assert [one.username for one in request.keychain.credentials("registry.example.com", "team/model")] == ["ann"]


def test_a_model_is_pinned_and_unpinned(at_driver: Command, driver: Driver) -> None:
    at_driver("pull", REFERENCE, "--pin")
    assert {pin.name for pin in driver.pins.held} == {REFERENCE}
    assert at_driver("unpin", REFERENCE).out == f"unpinned {REFERENCE}\n"
    assert at_driver("unpin", REFERENCE).out == f"{REFERENCE} was not pinned\n"
    assert at_driver("unpin", DIGEST, "--output", "json").document == {"name": DIGEST, "pins": 0}
    assert at_driver("unpin", "a b").code == ExitCode.INVALID


def test_a_pull_that_takes_too_long_is_left_to_the_driver(at_driver: Command, driver: Driver) -> None:
    driver.puller.outcomes = [errors.StillPulling(f"pulling {REFERENCE}: 1 %", fetched=1, total=100)] * 10_000
    outcome = at_driver("pull", REFERENCE, "--timeout", "0.05")
    assert (outcome.code, outcome.err) == (ExitCode.UNAVAILABLE, f"Error: pulling {REFERENCE}: 1 %\n")


def test_the_list_is_a_table_or_json(at_driver: Command, driver: Driver) -> None:
    driver.inventory.held = [
        CachedModel(
            reference=REFERENCE,
            manifest_digest=DIGEST,
            selection=Selection(exclude_weights=True, exclude_patterns=("*.md", "!a b")).key,
            size=91_617_632,
            files=12,
            volumes=2,
            last_used=1_700_000_000.25,
            pinned=True,
        )
    ]
    header, row = at_driver("list").out.splitlines()
    assert header.split("  ")[0] == "REFERENCE"
    assert row.split()[:7] == [REFERENCE, "sha256:aaaaaaaaaaaa", "87.4", "MiB", "12", "2", "yes"]
    assert row.endswith(" days ago  weights, *.md, !a b")
    assert at_driver("list", "--output", "json").document == [
        {
            "reference": REFERENCE,
            "digest": DIGEST,
            "excluded": {"weights": True, "patterns": ["*.md", "!a b"]},
            "included": {"patterns": [], "roles": []},
            "size": 91_617_632,
            "files": 12,
            "volumes": 2,
            "pinned": True,
            "lastUsed": "2023-11-14T22:13:20Z",
        }
    ]


def test_the_list_tells_what_was_taken_alone(at_driver: Command, driver: Driver) -> None:
    selection = Selection(True, (), ("*.json",), ("docs", "config"))
    driver.inventory.held = [CachedModel(REFERENCE, DIGEST, selection.key, 1, 1, 0, 1_700_000_000.0)]
    assert at_driver("list").out.endswith(" days ago  weights; all but config, docs, *.json\n")
    (model,) = at_driver("list", "--output", "json").document
    assert model["included"] == {"patterns": ["*.json"], "roles": ["config", "docs"]}


def test_an_empty_node_has_an_empty_list(at_driver: Command) -> None:
    outcome = at_driver("list")
    assert (outcome.code, outcome.out.split()[0]) == (0, "REFERENCE")
    assert at_driver("list", "--output", "json").document == []


def test_a_verification_that_finds_nothing_says_how_much_it_looked_at(at_driver: Command, driver: Driver) -> None:
    driver.verifier.report = Report(3, 1, 5_000_000, ())
    outcome = at_driver("verify")
    assert (outcome.code, outcome.out) == (0, "verified 3 layers and 1 snapshot, 4.8 MiB: nothing damaged\n")
    assert at_driver("verify", "--output", "json").document == {
        "layers": 3, "snapshots": 1, "read": 5_000_000, "damages": []
    }  # fmt: skip


def test_a_verification_names_what_was_damaged_and_which_pods_show_it(at_driver: Command, driver: Driver) -> None:
    finding = Finding("layer sha256:1", "has become\nsha256:2", (REFERENCE,), ("csi-1 of pod team/server-0",))
    driver.verifier.report = Report(3, 1, 5, (finding,))
    outcome = at_driver("verify", REFERENCE)
    assert outcome.code == ExitCode.UNSUPPORTED
    assert outcome.out.splitlines() == [
        "damaged: layer sha256:1: has become\\nsha256:2",
        f"  model {REFERENCE}",
        "  volume csi-1 of pod team/server-0",
        "verified 3 layers and 1 snapshot, 5 B: 1 damaged",
    ]
    assert outcome.err == "Error: 1 part of the cache had been damaged and was given up\n"
    assert driver.verifier.asked == [(Scope((REFERENCE,)), None)]
    document = json.loads(at_driver("verify", "--output", "json").out)
    assert document["damages"][0]["volumes"] == ["csi-1 of pod team/server-0"]


@pytest.mark.parametrize(("given", "rate"), [("500MB", 5e8), ("0", -1), ("1000", 1000), ("2GiB", 2 << 30)])
def test_a_verification_goes_as_fast_as_it_is_told(at_driver: Command, driver: Driver, given: str, rate: float) -> None:
    at_driver("verify", "--max-rate", given)
    assert driver.verifier.asked == [(Scope(), rate)]


def test_a_rate_that_is_none_is_refused(at_driver: Command) -> None:
    outcome = at_driver("verify", "--max-rate", "fast")
    assert outcome.code == ExitCode.INVALID
    assert "--max-rate is 'fast'" in outcome.err


def test_a_dry_run_shows_what_would_go_and_why_the_rest_stays(at_driver: Command, driver: Driver) -> None:
    gone, kept = Item(REFERENCE, "last used 3 h 0 min ago", 5_000_000), Item("team/b:v1", "mounted", 1000)
    driver.collector.outcome = Collected(5_000_000, (gone,), (kept,))
    assert at_driver("gc", "--dry-run").out.splitlines() == [
        "             SIZE  WHAT                                WHY",
        f"would go  4.8 MiB  {REFERENCE}  last used 3 h 0 min ago",
        "stays     1.0 KiB  team/b:v1                           mounted",
        "would free 4.8 MiB",
    ]
    assert at_driver("gc", "--dry-run", "--output", "json").document == {
        "dryRun": True,
        "freed": 5_000_000,
        "givenUp": [{"name": REFERENCE, "reason": "last used 3 h 0 min ago", "size": 5_000_000}],
        "kept": [{"name": "team/b:v1", "reason": "mounted", "size": 1000}],
    }
    assert driver.collector.asked == [(None, True), (None, True)]


def test_a_collection_says_what_went_and_how_much_that_freed(at_driver: Command, driver: Driver) -> None:
    driver.collector.outcome = Collected(
        1000, (Item(REFERENCE, "last used 1 s ago", 1000),), (Item("b", "mounted", 9),)
    )
    assert at_driver("gc", "--free", "2KiB").out.splitlines()[1:] == [
        f"gone  1.0 KiB  {REFERENCE}  last used 1 s ago", "freed 1.0 KiB"
    ]  # fmt: skip
    driver.collector.outcome = Collected(0, (), ())
    assert at_driver("gc", "--all").out == "freed 0 B\n"
    assert next(free for free, _ in driver.collector.asked) == 2048


def test_all_and_a_number_of_bytes_exclude_each_other(at_driver: Command) -> None:
    assert at_driver("gc", "--all", "--free", "1GB").code == ExitCode.INVALID
