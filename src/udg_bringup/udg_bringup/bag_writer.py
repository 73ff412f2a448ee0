"""Writes serialized messages as a rosbag2 bag (MCAP, with the definitions of all message types). Knows no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore

from udg_description.errors import UdgError

VERSION: Literal[9] = 9  # of rosbag2's metadata, as of Jazzy
_NEVER = QosTime(2147483647, 4294967295)


class BagError(UdgError):
    """A bag that cannot be written."""


class BagWriter:
    """A bag under construction; `close` makes it whole. Chunks are compressed with zstd."""

    def __init__(self, path: Path) -> None:
        """Raise BagError where there is something already."""
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Connection] = {}
        self.messages = 0
        try:
            self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"{path}: {error}; valid: a folder that does not exist yet") from None

    def add_topic(self, name: str, message_type: str, *, depth: int, reliable: bool, latched: bool) -> None:
        """Make room for a topic of a type, as "sensor_msgs/msg/JointState". Raises BagError for an unknown one."""
        if message_type not in self._types.types:
            raise BagError(f"topic {name}: message type {message_type} is none of Jazzy's; it cannot be described")
        qos = Qos(
            history=QosHistory.KEEP_LAST,
            depth=depth,
            reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_NEVER,
            lifespan=_NEVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_NEVER,
            avoid_ros_namespace_conventions=False,
        )
        self._connections[name] = self._writer.add_connection(
            name, message_type, typestore=self._types, offered_qos_profiles=[qos]
        )

    def write(self, name: str, received_ns: int, data: bytes) -> None:
        """Write one message of a topic, as it came."""
        self._writer.write(self._connections[name], received_ns, data)
        self.messages += 1

    def close(self) -> None:
        """Write index and metadata.yaml."""
        self._writer.close()
