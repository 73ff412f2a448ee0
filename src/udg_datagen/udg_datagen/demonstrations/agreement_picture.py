"""Picture of the scenes in which the expert agrees least with itself: its choices with several seeds side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from udg_datagen.expert.choice import Choice
from udg_datagen.grasps.grasp_picture import grasp_tile
from udg_datagen.grasps.grasp_scene import GraspScene
from udg_sim.cameras.video import captioned, contact_sheet, write_png
from udg_sim.objects.library import ObjectModel

SCENES, SEEDS, SIZE_PX = 6, 3, 200


def draw_scenes(
    scenes: Sequence[tuple[ObjectModel, np.ndarray, str]],
    choose: Callable[[ObjectModel, np.ndarray, int], Choice | None],
    path: Path,
) -> None:
    """Write a PNG with a row for each scene (object, T_world_object, title) and a column for each seed."""
    tiles = []
    for target, T_world_object, title in scenes:
        for seed in range(SEEDS):
            text = f"{title}\nseed {seed}"
            choice = choose(target, T_world_object, seed)
            if choice is None:
                tiles.append(captioned(np.full((SIZE_PX, 2 * SIZE_PX, 3), 255, np.uint8), f"{text}: no grasp"))
                continue
            one = choice.grasps.take([choice.reach.grasp_index])
            text += f": {one.strategy}, {'+'.join(one.sides)}"
            tiles.append(grasp_tile(GraspScene(one, target.mesh, detail=2), 0, SIZE_PX, text))
    if tiles:
        write_png(path, contact_sheet(tiles, SEEDS))
