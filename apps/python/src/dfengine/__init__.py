"""A detector of synthetic faces.

    import dfengine
    model = dfengine.Model("best.safetensors")
    print(model.classify("face.jpg").probability)

Pictures are paths, the bytes of a file, Pillow images, or arrays [height, width, 3] of uint8, rows from the top (NumPy's,
or whatever else has Python's buffer protocol).
"""
import ctypes
import dataclasses
import os
import threading
from typing import Any, List, Optional, Sequence, Union

from dfengine import _interface as _c
from dfengine._interface import Error

__all__ = ["Answer", "Error", "Model", "Session", "version"]

_DEVICES = {"cpu": 0, "cuda": 1, "auto": 2}
_PRECISIONS = {"fp16": 0, "bf16": 1, "fp32": 2}
_FEATURES, _HEAT_MAP = 1, 2


def version() -> str:
    return _c.library().df_version().decode()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the detector says of one picture; error is not empty, and all else says nothing, where it cannot be read."""
    probability: float  # of being fake, 0 to 1
    verdict: str
    fake: bool
    unsure: bool
    threshold: float
    logit: float
    error: str = ""
    features: Optional[memoryview] = None  # float, [n]
    heat_map: Optional[memoryview] = None  # float, [rows, columns]: where the evidence for the verdict lies


class Model:
    """A detector, from a file or its bytes. It never changes; any number of threads may use it."""

    def __init__(self, source: Union[str, os.PathLike, bytes]):
        handle = ctypes.c_void_p()
        if isinstance(source, bytes):
            _c.check(_c.library().df_model_open_bytes(source, len(source), ctypes.byref(handle)))
        else:
            _c.check(_c.library().df_model_open(os.fsencode(source), ctypes.byref(handle)))
        self._handle = handle
        info = _c.ModelInfo(struct_size=ctypes.sizeof(_c.ModelInfo))
        _c.check(_c.library().df_model_get_info(handle, ctypes.byref(info)))
        self.classes = [name.decode() for name in info.classes]
        self.threshold = info.threshold
        self.input_size = info.input_size
        self._own: Optional[Session] = None
        self._lock = threading.Lock()

    def session(self, **options) -> "Session":
        return Session(self, **options)

    def classify(self, pictures, **extras):
        """As Session.classify, with a session of the model's own, which one thread at a time uses."""
        with self._lock:
            if self._own is None:
                self._own = Session(self)
            return self._own.classify(pictures, **extras)

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.library().df_model_close(ctypes.byref(self._handle))


class Session:
    """Threads and memory to compute with, for one thread at a time.

    threads: 0 is all that this process may use; device: cpu, cuda or auto; precision (of cuda): fp16, bf16 or fp32;
    batch: pictures that are decoded and computed together; threshold: in place of the model's.
    """

    def __init__(self, model: Model, threads: int = 0, device: str = "cpu", precision: str = "fp16", batch: int = 0,
                 max_pixels: int = 0, threshold: float = 0.0):
        options = _c.SessionOptions(struct_size=ctypes.sizeof(_c.SessionOptions), threads=threads,
                                    device=_DEVICES[device], precision=_PRECISIONS[precision], batch=batch,
                                    max_pixels=max_pixels, threshold=threshold)
        self._handle = ctypes.c_void_p()
        _c.check(_c.library().df_session_open(model._handle, ctypes.byref(options), ctypes.byref(self._handle)))

    def classify(self, pictures, features: bool = False, heat_map: bool = False) -> Union[Answer, List[Answer]]:
        """An answer for one picture, or a list of answers for a list or tuple of pictures, in their order."""
        many = isinstance(pictures, (list, tuple))
        kept: List[Any] = []  # what the structs point to
        structs = [_picture(p, kept) for p in (pictures if many else [pictures])]
        array = (_c.Picture * len(structs))(*structs)
        results = ctypes.c_void_p()
        extras = (_FEATURES if features else 0) | (_HEAT_MAP if heat_map else 0)
        _c.check(_c.library().df_classify(self._handle, array, len(structs), extras, ctypes.byref(results)))
        try:
            answers = [_answer(_c.library().df_results_get(results, i).contents) for i in range(len(structs))]
        finally:
            _c.library().df_results_free(ctypes.byref(results))
        if many:
            return answers
        if answers[0].error:
            raise Error(answers[0].error)
        return answers[0]

    def selftest(self) -> None:
        """Raises Error where the device computes what it should not."""
        _c.check(_c.library().df_selftest(self._handle))

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.library().df_session_close(ctypes.byref(self._handle))


def _picture(picture, kept) -> "_c.Picture":
    struct = _c.Picture(struct_size=ctypes.sizeof(_c.Picture))
    if isinstance(picture, (str, os.PathLike)):
        struct.path = os.fsencode(picture)
    elif isinstance(picture, bytes):
        kept.append(picture)
        struct.bytes = ctypes.cast(ctypes.c_char_p(picture), ctypes.c_void_p)
        struct.size = len(picture)
    elif hasattr(picture, "tobytes") and hasattr(picture, "convert") and hasattr(picture, "size"):
        width, height = picture.size
        _set_pixels(struct, picture.convert("RGB").tobytes(), height, width, kept)
    else:
        view = memoryview(picture)
        if view.ndim != 3 or view.shape[2] != 3 or view.format != "B":
            raise TypeError(f"a picture is [height, width, 3] of uint8, this is {list(view.shape)} of '{view.format}'")
        _set_pixels(struct, view.tobytes(), view.shape[0], view.shape[1], kept)
    return struct


def _set_pixels(struct, rgb: bytes, height: int, width: int, kept) -> None:
    kept.append(rgb)
    struct.rgb = ctypes.cast(ctypes.c_char_p(rgb), ctypes.c_void_p)
    struct.height, struct.width = height, width


def _floats(pointer, shape: Sequence[int]) -> Optional[memoryview]:
    if not pointer:
        return None
    count = 1
    for side in shape:
        count *= side
    return memoryview(ctypes.string_at(pointer, 4 * count)).cast("f", list(shape))


def _answer(r) -> Answer:
    return Answer(probability=r.probability, verdict=r.verdict.decode(), fake=r.fake == 1, unsure=r.unsure == 1,
                  threshold=r.threshold, logit=r.logit, error=r.error.decode(errors="replace"),
                  features=_floats(r.features, [r.feature_count]),
                  heat_map=_floats(r.heat_map, [r.heat_map_rows, r.heat_map_columns]))
