"""Print what the packages in src/ need at run time, read from their setup.cfg, one requirement a line."""

from __future__ import annotations

import configparser
from pathlib import Path


def runtime_requirements(src: Path) -> list[str]:
    """The sorted union of `install_requires` of all packages below `src`, without those packages."""
    found: dict[str, str] = {}
    packages = {path.parent.name for path in src.glob("*/setup.cfg")}
    for path in sorted(src.glob("*/setup.cfg")):
        config = configparser.ConfigParser()
        config.read(path, encoding="utf-8")
        for line in config["options"].get("install_requires", "").split("\n"):
            requirement = line.strip()
            if requirement and requirement not in packages:
                found.setdefault(requirement.lower(), requirement)
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    print("\n".join(runtime_requirements(Path(__file__).resolve().parent.parent / "src")))
