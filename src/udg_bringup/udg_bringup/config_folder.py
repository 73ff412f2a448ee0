"""Where robot.yaml, safety.yaml and cameras.yaml are when no folder is named."""

from __future__ import annotations

from pathlib import Path

from udg_bringup.real_graph import CAMERA_FILE, PARAMETER_FILES

HERE = Path("config")
SHARE = Path("share/udg_bringup/config")


def default_config() -> Path:
    """`config` of the working directory if any of the files is in it, else the shipped one.

    That is the checkout's, beside the package's source, or that of the installed package's share.
    """
    if _has_files(HERE):
        return HERE
    package = Path(__file__).resolve().parent
    places = [package.with_name("config"), *(prefix / SHARE for prefix in package.parents)]
    return next((place for place in places if _has_files(place)), HERE)  # whoever reads it names what is missing


def _has_files(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*PARAMETER_FILES, CAMERA_FILE))
