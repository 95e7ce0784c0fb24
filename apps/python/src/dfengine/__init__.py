"""A detector of synthetic faces.

    import dfengine
    model = dfengine.Model("best.safetensors")
    print(model.classify("face.jpg").probability)

Pictures are paths, the bytes of a file (bytes, or whatever else is a row of bytes), Pillow images, or arrays
[height, width, 3] of uint8, rows from the top (NumPy's, or whatever else has Python's buffer protocol).

After os.fork() a child may go on with its parent's models: Model.classify opens a session of the child's own. A Session
of the parent computes on the calling thread alone there.
"""
import ctypes
import dataclasses
import operator
import os
import threading
from typing import Any, Dict, List, Optional, Sequence, Union

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


class _Own:
    """A model's own session, opened for its first picture, and the process that it is of."""

    def __init__(self):
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.session: Optional[Session] = None


class Model:
    """A detector, from a file or its bytes. It never changes; any number of threads may use it."""

    def __init__(self, source: Union[str, os.PathLike, bytes, bytearray, memoryview]):
        handle = ctypes.c_void_p()
        if isinstance(source, (str, os.PathLike)):
            _c.check(_c.library().df_model_open(_path(source), ctypes.byref(handle)))
        else:
            file = _file(source)
            if file is None:
                raise TypeError("a model is a path or the bytes of a file, this is an array")
            _c.check(_c.library().df_model_open_bytes(file, len(file), ctypes.byref(handle)))
        self._handle = handle
        info = _c.ModelInfo(struct_size=ctypes.sizeof(_c.ModelInfo))
        _c.check(_c.library().df_model_get_info(handle, ctypes.byref(info)))
        self.classes = [name.decode() for name in info.classes]
        self.threshold = info.threshold
        self.input_size = info.input_size
        self._own = _Own()

    def session(self, **options) -> "Session":
        return Session(self, **options)

    def classify(self, pictures, **extras):
        """As Session.classify, with a session of the model's own, which one thread at a time uses."""
        own = self._own
        # A child of os.fork() has none of the session's threads, and perhaps a lock that one of them holds.
        if own.process != os.getpid():
            own = self._own = _Own()
        with own.lock:
            if own.session is None:
                own.session = Session(self)
            return own.session.classify(pictures, **extras)

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.library().df_model_close(ctypes.byref(self._handle))


class Session:
    """Threads and memory to compute with, for one thread at a time.

    threads: 0 is all that this process may use; device: cpu, cuda or auto; precision: fp16, bf16 or fp32, of which a
    CPU has bf16 and computes in fp32 otherwise; batch: pictures that are decoded and computed together, 0
    is 32; max_pixels: larger pictures are refused, 0 is 100 million; threshold: in place of the model's, which 0 is.
    """

    def __init__(self, model: Model, threads: int = 0, device: str = "cpu", precision: str = "fp16", batch: int = 0,
                 max_pixels: int = 0, threshold: float = 0.0):
        options = _c.SessionOptions(
            struct_size=ctypes.sizeof(_c.SessionOptions), threads=_number("threads", threads, 32),
            device=_choice("device", device, _DEVICES), precision=_choice("precision", precision, _PRECISIONS),
            batch=_number("batch", batch, 32), max_pixels=_number("max_pixels", max_pixels, 64), threshold=threshold)
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


def _path(path) -> bytes:
    encoded = os.fsencode(path)
    # C would take what stands before it for the path. open() says the same.
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _file(source) -> Optional[bytes]:
    """What has the buffer protocol as a file's bytes; None where it is no row of bytes."""
    if isinstance(source, bytes):
        return source
    view = memoryview(source)
    return view.tobytes() if view.ndim == 1 and view.itemsize == 1 else None


def _choice(name: str, value: str, values: Dict[str, int]) -> int:
    if value not in values:
        raise ValueError(f"{name} is {value!r}: one of {', '.join(values)}")
    return values[value]


def _number(name: str, value: int, bits: int) -> int:
    """Refuses what C would cut to another number; how large it may be the library says."""
    value = operator.index(value)
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Error(f"{name} is {value}, which does not fit {bits} bits")
    return value


def _picture(picture, kept) -> "_c.Picture":
    struct = _c.Picture(struct_size=ctypes.sizeof(_c.Picture))
    if isinstance(picture, (str, os.PathLike)):
        struct.path = _path(picture)
    elif hasattr(picture, "tobytes") and hasattr(picture, "convert") and hasattr(picture, "size"):
        width, height = picture.size
        _set_pixels(struct, picture.convert("RGB").tobytes(), height, width, kept)
    else:
        file = _file(picture)
        if file is not None:
            struct.bytes, struct.size = _pointer(file, kept), len(file)
            return struct
        view = memoryview(picture)
        if view.ndim != 3 or view.shape[2] != 3 or view.format != "B":
            raise TypeError("a picture is a path, the bytes of a file, or [height, width, 3] of uint8, "
                            f"this is {list(view.shape)} of '{view.format}'")
        _set_pixels(struct, view.tobytes(), view.shape[0], view.shape[1], kept)
    return struct


def _pointer(data: bytes, kept) -> ctypes.c_void_p:
    kept.append(data)
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)


def _set_pixels(struct, rgb: bytes, height: int, width: int, kept) -> None:
    struct.rgb = _pointer(rgb, kept)
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
