"""Times ONNX Runtime on a MobileNetV2 .onnx (input `input` [batch,3,224,224], float32), on the CPU.

One JSON line per batch size on stdout. The figure is the median over repeated runs; the fastest run
is printed beside it, because on a shared machine the two tell how calm it was.

    python bench/peers/onnxruntime_mobilenetv2.py mobilenet_v2_100_folded.onnx --threads 2
"""

import argparse
import json
import statistics

import numpy as np
import onnxruntime as ort

from timing import seconds_per_run


def make_session(path, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="path of the .onnx file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", default=None, help="what the table calls the file, such as int8")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="least time per batch size")
    args = parser.parse_args()

    session = make_session(args.model, args.threads)
    rng = np.random.default_rng(1)
    for batch in args.batch:
        # Normal data: zeros or denormals would time another machine.
        x = rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)
        times = seconds_per_run(lambda: session.run(None, {"input": x}), args.seconds, 7)
        median = statistics.median(times)
        print(json.dumps({
            "peer": "onnxruntime", "version": ort.__version__, "work": "infer", "mode": args.mode,
            "batch": batch, "threads": args.threads, "runs": len(times),
            "median_ms": round(median * 1e3, 3), "min_ms": round(min(times) * 1e3, 3),
            "img_per_s": round(batch / median, 2), "best_img_per_s": round(batch / min(times), 2),
        }), flush=True)


if __name__ == "__main__":
    main()
