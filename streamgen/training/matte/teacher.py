"""The selfie-segmentation teacher, a TensorFlow Lite file run by OpenVINO."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamgen.backends.openvino import quiet_openvino
from streamgen.errors import ConfigError
from streamgen.training.data import Pixels

__all__ = ["TEACHER", "Teacher", "squeezed"]

TEACHER = Path("features/selfie_segmentation.tflite")
"""Where the data folder keeps it."""
_SIDE = 256


class Teacher:
    """Says how much of each pixel is a person.

    Args:
        path: the TensorFlow Lite file.
        threads: of the CPU.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises `ConfigError` when there is no such file or no OpenVINO."""
        if not path.is_file():
            raise ConfigError("data_missing", f"no {path}", field="data")
        try:
            core = _core()
        except ImportError as error:
            raise ConfigError("package_missing", "the teacher of the matte needs the package openvino") from error
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()

    def __call__(self, picture: Pixels) -> Pixels:
        """The matte of a picture uint8 [256, 256, 3] RGB: uint8 [256, 256], 255 where a person is."""
        result = self._request.infer([picture[None].astype(np.float32) / 255])[0]
        return np.asarray((result[0, :, :, 0] * 255).round(), np.uint8)


def squeezed(picture: Pixels, side: int = _SIDE) -> Pixels:
    """The whole picture, whatever its shape, as uint8 [side, side, 3]: that is how the teacher was taught to see."""
    method = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=method), np.uint8)


def _core() -> Any:
    """OpenVINO's core, taught the one operation of the file that its reader does not know."""
    core = quiet_openvino().Core()
    extension = import_module("openvino.frontend").ConversionExtension
    core.add_extension(extension("Convolution2DTransposeBias", _transposed_convolution))
    return core


def _transposed_convolution(node: Any) -> Any:
    """A transposed convolution of kernel 2 and stride 2 in NHWC, its weights [out, 2, 2, in], and a bias."""
    ops = import_module("openvino.opset8")
    picture, weights, bias = (node.get_input(index) for index in range(3))
    planes = ops.transpose(picture, np.array([0, 3, 1, 2]))
    kernel = ops.transpose(weights, np.array([3, 0, 1, 2]))
    doubled = ops.convolution_backprop_data(planes, kernel, strides=[2, 2])
    return ops.add(ops.transpose(doubled, np.array([0, 2, 3, 1])), bias).outputs()
