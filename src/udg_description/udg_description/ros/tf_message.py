"""tf2_msgs/TFMessage where ROS has it, and a stand-in where it has not: frames as bytes on /tf and /tf_static.

tf2_msgs is not among the ROS packages on PyPI. The message is a list of geometry_msgs/TransformStamped, so the stand-in
is made of supports that are there. Publish `to_bytes`; subscribe with raw=True and read
with `from_bytes`: both work with the real message, too, and are faster than 40 message objects.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import TransformStamped

from udg_description.clock import NS_PER_S
from udg_description.errors import UdgError
from udg_description.transforms import make_transform, matrix_to_quat_wxyz, quat_wxyz_to_matrix

_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
_HASH = bytes.fromhex("e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087")  # of the message's definition


class FrameMessageError(UdgError):
    """Bytes that are no TFMessage."""


class Frame(NamedTuple):
    """Pose of a child frame in its parent."""

    parent: str
    child: str
    T_parent_child: np.ndarray  # (4, 4), translation [m]
    stamp_ns: int = 0


def to_bytes(frames: Iterable[Frame]) -> bytes:
    """The serialised TFMessage (CDR, little endian) of the frames."""
    frames = list(frames)
    out = bytearray(struct.pack("<I", len(frames)))
    quats_wxyz = matrix_to_quat_wxyz(np.array([frame.T_parent_child[:3, :3] for frame in frames]).reshape(-1, 3, 3))
    for frame, (w, x, y, z) in zip(frames, quats_wxyz.tolist(), strict=True):
        _align(out, 4)
        seconds, nanoseconds = divmod(frame.stamp_ns, NS_PER_S)
        out += struct.pack("<iI", seconds, nanoseconds)
        for name in (frame.parent, frame.child):
            text = name.encode() + b"\0"
            _align(out, 4)
            out += struct.pack("<I", len(text)) + text
        _align(out, 8)
        out += struct.pack("<7d", *frame.T_parent_child[:3, 3], x, y, z, w)
    return bytes(_LITTLE_ENDIAN + out)


def from_bytes(data: bytes) -> list[Frame]:
    """The frames of a serialised TFMessage. Raises FrameMessageError."""
    if data[:2] != _LITTLE_ENDIAN[:2]:
        raise FrameMessageError("a TFMessage of an unknown encoding; valid: CDR, little endian")
    body, place, frames = memoryview(data)[4:], 4, []
    try:
        for _ in range(struct.unpack_from("<I", body)[0]):
            place += -place % 4
            seconds, nanoseconds = struct.unpack_from("<iI", body, place)
            place += 8
            names = []
            for _ in range(2):
                place += -place % 4
                (length,) = struct.unpack_from("<I", body, place)
                names.append(bytes(body[place + 4 : place + 3 + length]).decode())
                place += 4 + length
            place += -place % 8
            px, py, pz, x, y, z, w = struct.unpack_from("<7d", body, place)
            place += 56
            T_parent_child = make_transform(quat_wxyz_to_matrix(np.array([w, x, y, z])), np.array([px, py, pz]))
            frames.append(Frame(names[0], names[1], T_parent_child, seconds * NS_PER_S + nanoseconds))
    except (struct.error, UnicodeDecodeError) as error:
        raise FrameMessageError(f"a broken TFMessage: {error}") from None
    return frames


def _align(out: bytearray, size: int) -> None:
    out += bytes(-len(out) % size)


# --- the message's type -----------------------------------------------------------------------------------------------


class _Support(ctypes.Structure):
    """rosidl_message_type_support_t of Jazzy."""

    _fields_ = [
        ("identifier", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("find", ctypes.c_void_p),
        ("type_hash", ctypes.c_void_p),
        ("description", ctypes.c_void_p),
        ("sources", ctypes.c_void_p),
    ]


class _Callbacks(ctypes.Structure):
    """message_type_support_callbacks_t of rosidl_typesupport_fastrtps_c."""

    _fields_ = [("namespace", ctypes.c_char_p), ("name", ctypes.c_char_p), ("functions", ctypes.c_void_p * 5)]


class _Member(ctypes.Structure):
    """rosidl_typesupport_introspection_c__MessageMember."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type_id", ctypes.c_uint8),
        ("string_bound", ctypes.c_size_t),
        ("message", ctypes.POINTER(_Support)),
        ("rest", ctypes.c_void_p * 10),
    ]


class _Members(ctypes.Structure):
    """rosidl_typesupport_introspection_c__MessageMembers."""

    _fields_ = [
        ("namespace", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("count", ctypes.c_uint32),
        ("size", ctypes.c_size_t),
        ("has_keys", ctypes.c_bool),
        ("members", ctypes.POINTER(_Member)),
        ("functions", ctypes.c_void_p * 2),
    ]


class _Hash(ctypes.Structure):
    """rosidl_type_hash_t."""

    _fields_ = [("version", ctypes.c_uint8), ("value", ctypes.c_uint8 * 32)]


_FASTRTPS, _INTROSPECTION = "rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"


def _support_of(implementation: str, package: str, message: str) -> _Support:
    """The shared, so read-only, support of a type. Raises OSError, AttributeError."""
    library = ctypes.CDLL(f"lib{package}__{implementation}.so")
    give = getattr(library, f"{implementation}__get_message_type_support_handle__{package}__msg__{message}")
    give.restype = ctypes.POINTER(_Support)
    return give().contents  # type: ignore[no-any-return]


def _copy(structure: type[Any], address: int | None) -> Any:  # noqa: ANN401 - an instance of the structure
    return structure.from_buffer_copy(ctypes.string_at(address or 0, ctypes.sizeof(structure)))


class ListType(NamedTuple):
    """A message that is one list of other messages."""

    package: str
    name: str
    field: str
    element: tuple[str, str]  # package and name
    type_hash: bytes


TF_TYPE = ListType("tf2_msgs", "TFMessage", "transforms", ("geometry_msgs", "TransformStamped"), _HASH)


def _own_support(kind: ListType) -> tuple[object, list[Any]]:
    """The capsule of the type support of a message, and what has to live as long as it.

    Made from MarkerArray, another message that is one list of messages, with the list's name and element replaced.
    """
    serialization, introspection = (
        _copy(_Support, ctypes.addressof(_support_of(implementation, "visualization_msgs", "MarkerArray")))
        for implementation in (_FASTRTPS, _INTROSPECTION)
    )
    callbacks = _copy(_Callbacks, serialization.data)
    members = _copy(_Members, introspection.data)
    member = _copy(_Member, ctypes.addressof(members.members.contents))
    for named in (callbacks, members):
        named.namespace, named.name = f"{kind.package}::msg".encode(), kind.name.encode()
    members.namespace = f"{kind.package}__msg".encode()
    member.name = kind.field.encode()
    member.message = ctypes.pointer(_support_of(_INTROSPECTION, *kind.element))
    members.members = ctypes.pointer(member)
    serialization.data, introspection.data = ctypes.addressof(callbacks), ctypes.addressof(members)

    type_hash = _Hash(version=1, value=(ctypes.c_uint8 * 32)(*kind.type_hash))
    give_hash = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: ctypes.addressof(type_hash))
    by_name = {_FASTRTPS.encode(): serialization, _INTROSPECTION.encode(): introspection}
    find = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
        lambda _, name: ctypes.addressof(by_name[name]) if name in by_name else None
    )
    for support in by_name.values():
        support.type_hash = ctypes.cast(give_hash, ctypes.c_void_p).value
    either = _copy(_Support, ctypes.addressof(serialization))
    either.identifier, either.find = b"rosidl_typesupport_c", ctypes.cast(find, ctypes.c_void_p).value
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    kept = [serialization, introspection, callbacks, members, member, type_hash, give_hash, find, either]
    return new(ctypes.addressof(either), None, None), kept


def stand_in(kind: ListType) -> type:
    """A class that publishers and subscriptions take for the message's, as long as they send and hear bytes."""
    base = type(TransformStamped)
    base.__import_type_support__()
    capsule, kept = _own_support(kind)

    class Metaclass(type):
        _CREATE_ROS_MESSAGE = base._CREATE_ROS_MESSAGE
        _CONVERT_FROM_PY = base._CONVERT_FROM_PY
        _CONVERT_TO_PY = base._CONVERT_TO_PY
        _DESTROY_ROS_MESSAGE = base._DESTROY_ROS_MESSAGE
        _TYPE_SUPPORT = capsule
        _KEPT = kept

        @classmethod
        def __import_type_support__(cls) -> None:
            """All of it is there."""

    return Metaclass(kind.name, (), {"__module__": f"{kind.package}.msg", "__slots__": ()})


def _message_type() -> type:
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return stand_in(TF_TYPE)
    return TFMessage


TFMessage = _message_type()
