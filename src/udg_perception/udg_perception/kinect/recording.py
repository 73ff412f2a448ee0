"""Writing depth images to a recording (.mkv) that the vendor's tools and pyk4a play, without a camera."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from types import TracebackType

import numpy as np

from udg_description.camera import CameraModel
from udg_perception.errors import KinectError
from udg_perception.kinect.intrinsics import calibration_of
from udg_perception.kinect.library import NativeLibraries, native_libraries

_DEPTH16, _COLOR_BGRA32 = 4, 3
_COLOR_OFF, _NFOV_UNBINNED = 0, 2
FRAME_RATES = {5: 0, 15: 1, 30: 2}
_OK = 0


class _Configuration(Structure):
    """k4a_device_configuration_t."""

    _fields_ = [
        ("color_format", c_int),
        ("color_resolution", c_int),
        ("depth_mode", c_int),
        ("camera_fps", c_int),
        ("synchronized_images_only", c_bool),
        ("depth_delay_off_color_usec", c_int32),
        ("wired_sync_mode", c_int),
        ("subordinate_delay_off_master_usec", c_uint32),
        ("disable_streaming_indicator", c_bool),
    ]


class DepthRecording:
    """A recording under way; a context manager. The file is there, complete, when it is closed without an error."""

    def __init__(self, path: Path, camera: CameraModel, rate_hz: int = 30) -> None:
        """Of a camera in NFOV_UNBINNED. Raises KinectError."""
        if rate_hz not in FRAME_RATES:
            raise KinectError(f"recording {path}: {rate_hz} images a second; valid: {', '.join(map(str, FRAME_RATES))}")
        self.path = path
        self._shape = (camera.height, camera.width)
        self._libraries = _with_types(native_libraries())
        self._temporary = path.with_name(path.name + ".part")
        self._handle = c_void_p()
        configuration = _Configuration(
            color_format=_COLOR_BGRA32,
            color_resolution=_COLOR_OFF,
            depth_mode=_NFOV_UNBINNED,
            camera_fps=FRAME_RATES[rate_hz],
        )
        calibration = calibration_of(camera).encode()
        record = self._libraries.record
        path.parent.mkdir(parents=True, exist_ok=True)
        self._check(
            record.k4a_record_create(bytes(self._temporary), None, configuration, byref(self._handle)), "create"
        )
        self._check(
            record.k4a_record_add_attachment(self._handle, b"calibration.json", calibration, len(calibration)),
            "calibrate",
        )
        self._check(record.k4a_record_add_tag(self._handle, b"K4A_CALIBRATION_FILE", b"calibration.json"), "tag")
        self._check(record.k4a_record_write_header(self._handle), "begin")

    def __enter__(self) -> DepthRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file; after an error nothing of it is left."""
        record = self._libraries.record
        if kind is None:
            self._check(record.k4a_record_flush(self._handle), "flush")
        record.k4a_record_close(self._handle)
        if kind is None:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)

    def write(self, depth_mm: np.ndarray, time_usec: int) -> None:
        """Add an image (H, W) uint16 [mm] of a time [us] since the beginning. Raises KinectError."""
        if depth_mm.shape != self._shape or depth_mm.dtype != np.uint16:
            raise KinectError(f"depth image {depth_mm.dtype} {depth_mm.shape}; valid: uint16 {self._shape}")
        k4a, record = self._libraries
        depth_mm = np.ascontiguousarray(depth_mm)
        height, width = self._shape
        image, capture = c_void_p(), c_void_p()
        self._check(k4a.k4a_image_create(_DEPTH16, width, height, 2 * width, byref(image)), "image")
        self._check(k4a.k4a_capture_create(byref(capture)), "capture")
        ctypes.memmove(k4a.k4a_image_get_buffer(image), depth_mm.ctypes.data, depth_mm.nbytes)
        k4a.k4a_image_set_device_timestamp_usec(image, time_usec)
        k4a.k4a_capture_set_depth_image(capture, image)
        result = record.k4a_record_write_capture(self._handle, capture)
        k4a.k4a_image_release(image)
        k4a.k4a_capture_release(capture)
        self._check(result, "write")

    def _check(self, result: int, what: str) -> None:
        if result != _OK:
            raise KinectError(f"recording {self.path}: could not {what}; is the disk full, or the folder not writable?")


def _with_types(libraries: NativeLibraries) -> NativeLibraries:
    """Declare the arguments: the default would cut pointers to 32 bits."""
    handle, handle_out = c_void_p, POINTER(c_void_p)
    k4a, record = libraries
    k4a.k4a_image_create.argtypes = [c_int, c_int, c_int, c_int, handle_out]
    k4a.k4a_image_get_buffer.argtypes, k4a.k4a_image_get_buffer.restype = [handle], c_void_p
    k4a.k4a_image_set_device_timestamp_usec.argtypes = [handle, c_uint64]
    k4a.k4a_capture_create.argtypes = [handle_out]
    k4a.k4a_capture_set_depth_image.argtypes = [handle, handle]
    k4a.k4a_image_release.argtypes = [handle]
    k4a.k4a_capture_release.argtypes = [handle]
    record.k4a_record_create.argtypes = [c_char_p, handle, _Configuration, handle_out]
    record.k4a_record_add_attachment.argtypes = [handle, c_char_p, c_char_p, c_size_t]
    record.k4a_record_add_tag.argtypes = [handle, c_char_p, c_char_p]
    for name in ("write_header", "flush", "close"):
        getattr(record, f"k4a_record_{name}").argtypes = [handle]
    record.k4a_record_write_capture.argtypes = [handle, handle]
    return libraries
