"""The house as a picture (SVG): packages on their floors, in each its rooms above what they import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

FLOORS = (
    ("udg_description",),
    ("udg_sim", "udg_perception", "udg_control", "udg_policy"),
    ("udg_datagen",),
    ("udg_bringup",),
)
"""The packages from the ground up."""
_ROOM_W, _ROOM_H, _GAP_X, _GAP_Y = 112, 34, 12, 26  # [px]
_PAD, _HEAD, _STOREY = 14, 26, 44  # inside a package, its title, between floors [px]
_STYLE = """
text { font: 12px sans-serif; fill: #222; text-anchor: middle }
.title { font-weight: bold; font-size: 14px; text-anchor: start }
.small { font-size: 10px; font-weight: normal; fill: #666 }
.package { fill: #f5f3ee; stroke: #8a8578 }
.room { fill: #fff; stroke: #4a6b8a }
path { fill: none; stroke: #4a6b8a; stroke-opacity: 0.6; marker-end: url(#tip) }
.stairs { stroke: #8a8578; stroke-width: 2 }
"""
Arrows = Mapping[str, set[str]]


def floors(arrows: Arrows) -> list[list[str]]:
    """The rooms from the ground up: each above all that it imports. The arrows have no circle."""
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((of(target) for target in arrows[room]), default=-1)
        return height[room]

    found: list[list[str]] = [[] for _ in range(1 + max(map(of, arrows), default=-1))]
    for room in sorted(arrows):
        found[height[room]].append(room)
    return found


def shortened(arrows: Arrows) -> dict[str, set[str]]:
    """The arrows without those whose end is reached by way of other rooms anyway."""

    def beyond(room: str) -> set[str]:
        return {far for target in arrows[room] for far in (target, *beyond(target))}

    return {room: targets - {far for t in targets for far in beyond(t)} for room, targets in arrows.items()}


def _within(package: str, files: Mapping[str, Path], arrows: Arrows) -> dict[str, set[str]]:
    """The arrows between the rooms of one package, its single modules omitted."""
    rooms = {room for room in arrows if room.split(".")[0] == package and room not in files}
    return {room: arrows[room] & rooms for room in rooms}


def _arrow(x: float, y: float, to_x: float, to_y: float, kind: str = "") -> str:
    middle = (y + to_y) / 2
    drawn = f"M{x:.0f} {y:.0f}C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}"
    return f'<path{kind} d="{drawn}"/>'


def _size(storeys: list[list[str]]) -> tuple[float, float]:
    widest = max((len(storey) for storey in storeys), default=1)
    width = 2 * _PAD + max(widest, 2) * (_ROOM_W + _GAP_X) - _GAP_X
    return width, _HEAD + 2 * _PAD + len(storeys) * (_ROOM_H + _GAP_Y) - (_GAP_Y if storeys else 0)


def _package(
    package: str, x: float, y: float, width: float, height: float, files: Mapping[str, Path], arrows: Arrows
) -> list[str]:
    inner = _within(package, files, arrows)
    count = Counter(".".join(name.split(".")[:2]) for name in files)
    beside = sum(name in files for name in arrows if name.split(".")[0] == package)
    lines = [
        f'<rect class="package" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>',
        f'<text class="title" x="{x + _PAD:.0f}" y="{y + 22:.0f}">{package}'
        f'<tspan class="small"> and {beside} modules</tspan></text>',
    ]
    place = {}
    for level, storey in enumerate(floors(inner)):
        left = x + (width - len(storey) * (_ROOM_W + _GAP_X) + _GAP_X) / 2
        for column, room in enumerate(storey):
            place[room] = (left + column * (_ROOM_W + _GAP_X), y + height - _PAD - _ROOM_H - level * (_ROOM_H + _GAP_Y))
    for room, targets in sorted(shortened(inner).items()):
        for target in sorted(targets):
            (from_x, from_y), (to_x, to_y) = place[room], place[target]
            lines.append(_arrow(from_x + _ROOM_W / 2, from_y + _ROOM_H, to_x + _ROOM_W / 2, to_y))
    for room, (left, top) in sorted(place.items()):
        centre = left + _ROOM_W / 2
        lines += [
            f'<rect class="room" x="{left:.0f}" y="{top:.0f}" width="{_ROOM_W}" height="{_ROOM_H}" rx="4"/>',
            f'<text x="{centre:.0f}" y="{top + 15:.0f}">{escape(room.split(".")[1])}</text>',
            f'<text class="small" x="{centre:.0f}" y="{top + 28:.0f}">{count[room]}</text>',
        ]
    return lines


def _between(packages: Iterable[str], arrows: Arrows) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {package: set() for package in packages}
    for room, targets in arrows.items():
        package = room.split(".")[0]
        found[package] |= {target.split(".")[0] for target in targets} - {package}
    return found


def picture(files: Mapping[str, Path], arrows: Arrows) -> str:
    """The SVG. `arrows`: between the rooms of all packages; drawn are those that no other way makes needless."""
    packages = [package for floor in FLOORS for package in floor]
    sizes = {package: _size(floors(_within(package, files, arrows))) for package in packages}
    total = max(sum(sizes[p][0] + _STOREY for p in floor) - _STOREY for floor in FLOORS)
    y, frames = 10.0, {}
    for floor in reversed(FLOORS):
        tallest = max(sizes[p][1] for p in floor)
        x = 10.0 + (total - sum(sizes[p][0] + _STOREY for p in floor) + _STOREY) / 2
        for package in floor:
            width, height = sizes[package]
            frames[package] = (x, y + tallest - height, width, height)
            x += width + _STOREY
        y += tallest + _STOREY
    lines = []
    for package, targets in shortened(_between(packages, arrows)).items():
        for target in sorted(targets):
            (x, top, width, height), (to_x, to_top, to_width, _) = frames[package], frames[target]
            inside = min(max(to_x + to_width / 2, x + _PAD), x + width - _PAD)
            end = min(max(inside, to_x + _PAD), to_x + to_width - _PAD)
            lines.append(_arrow(inside, top + height, end, to_top, ' class="stairs"'))
    for package, (x, top, width, height) in frames.items():
        lines += _package(package, x, top, width, height, files, arrows)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total + 20:.0f} {y:.0f}"><style>{_STYLE}</style>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#4a6b8a;stroke:none;marker-end:none"/></marker></defs>'
        f'<rect width="{total + 20:.0f}" height="{y:.0f}" fill="#fff"/>'
    )
    return "\n".join([head, *lines, "</svg>", ""])
