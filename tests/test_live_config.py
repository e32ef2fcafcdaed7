"""Settings that may change follow the file; the others, and all of them when the file is wrong, stay as they were."""

import logging
import os
from pathlib import Path

import pytest

from csi_driver.app import Driver
from csi_driver.config import LiveConfig, load
from csi_driver.errors import InvalidRequest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("log_level: info\nnode_id: here\n")
    return path


def live(path: Path) -> LiveConfig:
    return LiveConfig(load(path, {}), path, {})


def test_a_live_setting_follows_the_file(path: Path) -> None:
    config = live(path)
    path.write_text("log_level: debug\nnode_id: here\n")
    change = config.refresh()
    assert change is not None
    assert (change.applied, change.pending) == (("log_level",), ())
    assert config.current().log_level == "debug"


def test_a_setting_that_needs_a_restart_is_named_and_stays(path: Path) -> None:
    config = live(path)
    path.write_text("node_id: there\npull_config: {concurrency: 9}\n")
    change = config.refresh()
    assert change is not None
    assert change.pending == ("node_id", "pull_config.concurrency")
    assert (config.current().node_id, config.current().pull_config.concurrency) == ("here", 5)


def test_a_wrong_file_is_refused_once_and_changes_nothing(path: Path) -> None:
    config = live(path)
    path.write_text("log_level: shouting\n")
    with pytest.raises(InvalidRequest, match=r"setting log_level is 'shouting'"):
        config.refresh()
    assert config.refresh() is None
    assert config.current().log_level == "info"


def test_a_configmaps_turned_link_is_a_change_and_a_missing_file_is_none(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    config = live(link)
    other = tmp_path / "other"
    other.write_text("log_level: error\nnode_id: here\n")
    os.unlink(link)
    assert config.refresh() is None
    link.symlink_to(other)
    assert config.refresh() is not None
    assert config.current().log_level == "error"


def test_what_only_other_floors_can_judge_is_refused_like_any_wrong_setting(path: Path) -> None:
    root = f"node_id: here\nroot_dir: {path.parent}/root\n"
    path.write_text(root)
    driver = Driver(load(path, {}), path)
    path.write_text(f"{root}cache: {{pins: ['sha256:short']}}\n")
    with pytest.raises(InvalidRequest, match=r"setting cache\.pins: 'sha256:short'"):
        driver.reload()
    path.write_text(f"{root}cache: {{pins: [registry.local/UPPER]}}\n")
    with pytest.raises(InvalidRequest, match="UPPER"):
        Driver(load(path, {}), path)


def test_the_driver_takes_over_the_level_of_its_log(path: Path) -> None:
    path.write_text(f"log_level: info\nroot_dir: {path.parent}/root\n")
    driver = Driver(load(path, {}), path)
    path.write_text(f"log_level: error\nroot_dir: {path.parent}/root\n")
    driver.reload()
    assert logging.getLogger("model-csi").level == logging.ERROR
