"""The settings that a data set was made with, as it keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from udg_datagen.demonstrations.attempt import AttemptConfig
from udg_datagen.demonstrations.demos import SETTINGS_NAME
from udg_datagen.demonstrations.states_file import StatesError
from udg_description.settings import override
from udg_policy.episodes.pack import PackedFolder, is_packed

_IMAGING = ("camera_rigs", "whole_images_share", "cloud")  # what clouds depend on


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of a data set, of corrections those of its attempts. Raises StatesError."""
    try:
        packed = PackedFolder(folder) if is_packed(folder) else None
        if packed is not None and SETTINGS_NAME in packed.names:
            settings = json.loads(packed.read(SETTINGS_NAME))
        else:
            settings = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
        settings = settings.get("attempt", settings)
        imaging(settings)
    except OSError as error:
        raise StatesError(
            f"{folder / SETTINGS_NAME}: cannot be read; valid: a data set of `udg demos` or `udg corrections`, with "
            "the settings that it was made with"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StatesError(f"{folder / SETTINGS_NAME}: not the settings of demonstrations: {error}") from error
    return settings


def imaging(settings: dict[str, Any]) -> AttemptConfig:
    """The settings, as far as clouds depend on them: other fields may be those of another version."""
    return override(AttemptConfig(), {key: settings[key] for key in _IMAGING}, SETTINGS_NAME, StatesError)
