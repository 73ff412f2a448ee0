"""Published figures of other methods: other hands, objects, tests and machines. Not measured here."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    method: str
    figure: str
    where: str


PUBLISHED = (
    Published("BODex", "> 49 valid grasps/s, penetration < 1 mm", "RTX 3090; Chen et al. 2024"),
    Published("FRoGGeR", "0.83 s a grasp", "CPU; Li et al. 2023"),
    Published("BiDexGrasp", "two hands: 6.87 grasps/s, 80.8 % lift", "GPU"),
    Published(
        "Dexonomy", "pose alone 24.6 %, + pregrasp 45.1 %, + squeeze 60.5 %", "Allegro hand, fingertips; their Table VI"
    ),
)
