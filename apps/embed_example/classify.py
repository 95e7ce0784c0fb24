#!/usr/bin/env python3
"""The least that a program in a language with C calls needs, here Python's ctypes.

Usage: classify.py LIBDFENGINE.SO MODEL PICTURE...      (apps/python is a whole package)
"""
import ctypes
import os
import sys
from ctypes import (POINTER, Structure, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t,
                    c_uint32, c_void_p)


class Picture(Structure):
    _fields_ = [("struct_size", c_size_t), ("path", c_char_p), ("bytes", c_void_p), ("size", c_size_t),
                ("rgb", c_void_p), ("height", c_int64), ("width", c_int64), ("row_bytes", c_int64)]


class Result(Structure):
    _fields_ = [("struct_size", c_size_t), ("status", c_int32), ("error", c_char_p),
                ("probability", c_double), ("logit", c_double), ("threshold", c_double),
                ("fake", c_int32), ("verdict", c_char_p), ("unsure", c_int32),
                ("features", POINTER(c_float)), ("feature_count", c_int64),
                ("heat_map", POINTER(c_float)), ("heat_map_rows", c_int64),
                ("heat_map_columns", c_int64)]


def load(path):
    df = ctypes.CDLL(path)
    df.df_last_error.restype = c_char_p
    df.df_model_open.argtypes = [c_char_p, POINTER(c_void_p)]
    df.df_session_open.argtypes = [c_void_p, c_void_p, POINTER(c_void_p)]
    df.df_classify.argtypes = [c_void_p, POINTER(Picture), c_size_t, c_uint32, POINTER(c_void_p)]
    df.df_results_get.argtypes = [c_void_p, c_size_t]
    df.df_results_get.restype = POINTER(Result)
    for name in ("df_model_close", "df_session_close", "df_results_free"):
        getattr(df, name).argtypes = [POINTER(c_void_p)]
        getattr(df, name).restype = None
    return df


def main(library, model_path, *paths):
    df = load(library)

    def check(status):
        if status != 0:
            sys.exit(df.df_last_error().decode())

    model, session, results = c_void_p(), c_void_p(), c_void_p()
    check(df.df_model_open(os.fsencode(model_path), byref(model)))
    check(df.df_session_open(model, None, byref(session)))
    pictures = (Picture * len(paths))(
        *(Picture(struct_size=ctypes.sizeof(Picture), path=os.fsencode(p)) for p in paths))
    check(df.df_classify(session, pictures, len(paths), 0, byref(results)))
    worst = 0
    for i, path in enumerate(paths):
        r = df.df_results_get(results, i).contents
        if r.status == 0:
            print(f"{r.probability:.17g} {r.verdict.decode()} {path}")
        else:
            print(r.error.decode(), file=sys.stderr)
            worst = r.status
    df.df_results_free(byref(results))
    df.df_session_close(byref(session))
    df.df_model_close(byref(model))
    return worst


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
