"""The isaac_grasp YAML file, version 1.0: one gripper and one object, poses and joint angles, human-readable.

Source: the specification in Isaac ROS's documentation ("Isaac Grasp File"). The pose is that of the gripper in the
object; the quaternion is {w, xyz}. Two hands make two files. It has no squeeze: the grasp's angles stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from udg_datagen.exchange.plain_grasps import UNIT_WITHIN, ExchangeError, PlainGrasps, in_order
from udg_description.layout import Side
from udg_description.transforms import make_transform, matrix_to_quat_wxyz, quat_wxyz_to_matrix

FORMAT, VERSION = "isaac_grasp", 1.0
MAX_BYTES = 64 * 2**20


def isaac_yaml(grasps: PlainGrasps, hand: int, gripper_frame: str) -> str:
    """The text of a file with one of the hands."""
    names = grasps.joint_names[hand]
    entries: dict[str, Any] = {}
    for n in range(len(grasps)):
        T = grasps.T_object_hand[n, hand]
        w, *xyz = matrix_to_quat_wxyz(T[:3, :3]).tolist()
        entries[f"grasp_{n}"] = {
            "confidence": float(grasps.confidence[n]),
            "position": T[:3, 3].tolist(),
            "orientation": {"w": w, "xyz": xyz},
            "cspace_position": dict(zip(names, grasps.q_grasp[n, hand].tolist(), strict=True)),
            "pregrasp_cspace_position": dict(zip(names, grasps.q_pregrasp[n, hand].tolist(), strict=True)),
        }
    document = {
        "format": FORMAT,
        "format_version": VERSION,
        "object_frame": grasps.object_id,
        "gripper_frame": gripper_frame,
        "grasps": entries,
    }
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120)


def read_isaac(paths: Sequence[Path], sides: tuple[Side, ...], joint_names: tuple[tuple[str, ...], ...]) -> PlainGrasps:
    """The grasps of one file a hand, in the order of `sides`; `joint_names` are those of each hand.

    Grasps of two hands belong together by their names. Raises ExchangeError naming file, grasp and entry.
    """
    if len(paths) != len(sides):
        raise ExchangeError(f"{len(paths)} files for {len(sides)} hands; valid: one a hand, left before right")
    documents = [_document(path) for path in paths]
    names = list(documents[0]["grasps"])
    for path, document in zip(paths, documents, strict=True):
        if set(document["grasps"]) != set(names):
            raise ExchangeError(f"{path}: other grasps than {paths[0]}; those of two hands belong together by name")
    poses, before, at, confidence = [], [], [], []
    for name in names:
        hands = [
            _entry(document["grasps"][name], joints, f"{path}: grasp '{name}'")
            for path, document, joints in zip(paths, documents, joint_names, strict=True)
        ]
        poses.append([hand[0] for hand in hands])
        before.append([hand[1] for hand in hands])
        at.append([hand[2] for hand in hands])
        confidence.append(min(hand[3] for hand in hands))
    q_grasp = np.array(at)
    return PlainGrasps(
        sides=sides,
        joint_names=joint_names,
        T_object_hand=np.array(poses),
        q_pregrasp=np.array(before),
        q_grasp=q_grasp,
        q_squeeze=q_grasp,
        confidence=np.array(confidence),
        object_id=str(documents[0].get("object_frame", documents[0].get("object_frame_link", ""))),
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ExchangeError(f"{path}: {path.stat().st_size / 2**20:.0f} MB; valid: up to {MAX_BYTES // 2**20} MB")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_SafeWithoutAliases)
    except OSError as error:
        raise ExchangeError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ExchangeError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ExchangeError(f"{path}: not an {FORMAT} file; valid: 'format: {FORMAT}' at its top")
    if str(content.get("format_version")) not in ("1.0", "1"):
        raise ExchangeError(f"{path}: format_version {content.get('format_version')}; valid: {VERSION}")
    if not isinstance(content.get("grasps"), dict) or not content["grasps"]:
        raise ExchangeError(f"{path}: has no grasps")
    return content


class _SafeWithoutAliases(yaml.SafeLoader):
    """The safe loader, without references: nothing of this format needs them, and they can make a small file huge."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (&, *) are not part of this format")
        return super().compose_node(parent, index)


def _entry(entry: Any, joints: tuple[str, ...], where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:  # noqa: ANN401
    """T_object_hand (4, 4), angles before and at the grasp (J,), confidence."""
    if not isinstance(entry, Mapping):
        raise ExchangeError(f"{where}: valid: a mapping")
    orientation = entry.get("orientation")
    if not isinstance(orientation, Mapping):
        raise ExchangeError(f"{where}: orientation; valid: {{w: ..., xyz: [...]}}")
    quat_wxyz = _numbers([orientation.get("w"), *_list(orientation.get("xyz"))], 4, f"{where}: orientation")
    if abs(np.linalg.norm(quat_wxyz) - 1.0) > UNIT_WITHIN:
        raise ExchangeError(f"{where}: orientation has length {np.linalg.norm(quat_wxyz):.3f}; valid: 1")
    position = _numbers(_list(entry.get("position")), 3, f"{where}: position")
    at = _angles(entry.get("cspace_position"), joints, f"{where}: cspace_position")
    before = _angles(entry.get("pregrasp_cspace_position"), joints, f"{where}: pregrasp_cspace_position")
    confidence = float(_numbers([entry.get("confidence", 1.0)], 1, f"{where}: confidence")[0])
    return make_transform(quat_wxyz_to_matrix(quat_wxyz), position), before, at, confidence


def _angles(entry: Any, joints: tuple[str, ...], where: str) -> np.ndarray:  # noqa: ANN401
    if not isinstance(entry, Mapping):
        raise ExchangeError(f"{where}: valid: a mapping of joint names to angles")
    names = tuple(str(name) for name in entry)
    values = list(entry.values())
    return _numbers([values[place] for place in in_order(names, joints, where)], len(joints), where)


def _list(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [value]


def _numbers(values: list[Any], count: int, where: str) -> np.ndarray:
    try:
        array = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        raise ExchangeError(f"{where}: {values}; valid: {count} numbers") from None
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ExchangeError(f"{where}: {values}; valid: {count} finite numbers")
    return array
