"""dfengine.h, as ctypes has it."""
import ctypes
import functools
import os
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p

ABI_VERSION = 1


class Error(Exception):
    """A call that did not work; the text says what failed and what to try."""


class ModelInfo(Structure):
    _fields_ = [("struct_size", c_size_t), ("architecture", c_char_p), ("classes", c_char_p * 2),
                ("threshold", c_double), ("temperature", c_double), ("input_size", c_int64), ("features", c_int64)]


class SessionOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("threads", c_int32), ("device", c_int32), ("precision", c_int32),
                ("batch", c_int32), ("max_pixels", c_int64), ("threshold", c_double)]


class Picture(Structure):
    _fields_ = [("struct_size", c_size_t), ("path", c_char_p), ("bytes", c_void_p), ("size", c_size_t),
                ("rgb", c_void_p), ("height", c_int64), ("width", c_int64), ("row_bytes", c_int64)]


class Result(Structure):
    _fields_ = [("struct_size", c_size_t), ("status", c_int32), ("error", c_char_p), ("probability", c_double),
                ("logit", c_double), ("threshold", c_double), ("fake", c_int32), ("verdict", c_char_p),
                ("unsure", c_int32), ("features", POINTER(c_float)), ("feature_count", c_int64),
                ("heat_map", POINTER(c_float)), ("heat_map_rows", c_int64), ("heat_map_columns", c_int64)]


@functools.lru_cache(maxsize=None)
def library():
    df = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "libdfengine.so"))
    handle = POINTER(c_void_p)
    for name, result, arguments in (
            ("df_version", c_char_p, []),
            ("df_abi_version", c_int32, []),
            ("df_last_error", c_char_p, []),
            ("df_model_open", c_int32, [c_char_p, handle]),
            ("df_model_open_bytes", c_int32, [c_void_p, c_size_t, handle]),
            ("df_model_close", None, [handle]),
            ("df_model_get_info", c_int32, [c_void_p, POINTER(ModelInfo)]),
            ("df_session_open", c_int32, [c_void_p, POINTER(SessionOptions), handle]),
            ("df_session_close", None, [handle]),
            ("df_selftest", c_int32, [c_void_p]),
            ("df_classify", c_int32, [c_void_p, POINTER(Picture), c_size_t, c_uint32, handle]),
            ("df_results_get", POINTER(Result), [c_void_p, c_size_t]),
            ("df_results_free", None, [handle])):
        function = getattr(df, name)
        function.restype, function.argtypes = result, arguments
    if df.df_abi_version() != ABI_VERSION:
        raise Error(f"libdfengine.so has ABI {df.df_abi_version()}, this package {ABI_VERSION}")
    return df


def check(status: int) -> None:
    if status != 0:
        raise Error(library().df_last_error().decode(errors="replace"))
