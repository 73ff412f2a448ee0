"""Where the commands find robot.yaml when no folder is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from udg_bringup import config_folder
from udg_bringup.config_folder import default_config

CONFIG = Path(__file__).parents[3] / "config"


def test_it_is_the_folder_config_where_one_is_else_the_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()  # of something else
    assert default_config().resolve() == CONFIG.resolve()
    (tmp_path / "config" / "robot.yaml").touch()
    assert default_config() == Path("config")


def test_an_installed_package_has_it_in_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "python3.12" / "site-packages" / "udg_bringup"
    share = tmp_path / "share" / "udg_bringup" / "config"
    share.mkdir(parents=True)
    (share / "robot.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_folder, "__file__", str(package / "config_folder.py"))
    assert default_config() == share
