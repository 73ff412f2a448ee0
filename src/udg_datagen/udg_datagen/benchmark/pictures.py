"""Pictures of objects for the page of a benchmark."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from udg_datagen.benchmark.report import extremes
from udg_datagen.benchmark.rows import Row
from udg_sim.cameras.video import object_sheet
from udg_sim.objects.library import ObjectLibrary

_SHOWN = 8  # objects of each picture


def object_pictures(rows: Sequence[Row], library: ObjectLibrary) -> dict[str, str]:
    """Those that are lifted least and most often: PNG in base64 by caption; none where there are too few objects."""
    worst, best = extremes(rows, _SHOWN)
    return {
        caption: _png(object_sheet([library.get(name) for name in names], columns=4))
        for caption, names in (("Lifted least often", worst), ("Lifted most often", best))
        if names
    }


def _png(picture: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")
