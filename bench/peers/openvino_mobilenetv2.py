"""Times OpenVINO on a MobileNetV2 .onnx or .xml (input `input` [batch,3,224,224], float32), on the CPU.

One JSON line per batch size and mode on stdout: latency is one call after the other with all threads
at each; streams has as many calls under way as there are threads, each with a thread of its own.

    python bench/peers/openvino_mobilenetv2.py mobilenet_v2_100_folded.onnx --threads 2 --precision bf16
"""

import argparse
import json
import statistics

import numpy as np
import openvino as ov

from timing import seconds_per_run

# What is not quantized in an INT8 file is fastest in bf16.
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}


def compiled(path, batch, precision, threads, streams):
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, 224, 224])
    return core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="path of the .onnx file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=HINTS, default="fp32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="least time per batch size and mode")
    args = parser.parse_args()

    rng = np.random.default_rng(1)
    for batch in args.batch:
        # Normal data: zeros or denormals would time another machine.
        x = rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)
        for mode, streams, calls in (("latency", 1, 1), ("streams", args.threads, 8 * args.threads)):
            model = compiled(args.model, batch, args.precision, args.threads, streams)
            queue = ov.AsyncInferQueue(model, streams)

            def run():
                for _ in range(calls):
                    queue.start_async({0: x})
                queue.wait_all()

            times = seconds_per_run(run, args.seconds, 7)
            median = statistics.median(times) / calls
            print(json.dumps({
                "peer": "openvino", "version": ov.__version__.split("-")[0], "work": "infer",
                "mode": f"{args.precision} {mode}", "batch": batch, "threads": args.threads,
                "runs": len(times), "median_ms": round(median * 1e3, 3),
                "min_ms": round(min(times) / calls * 1e3, 3), "img_per_s": round(batch / median, 2),
                "best_img_per_s": round(batch * calls / min(times), 2),
            }), flush=True)


if __name__ == "__main__":
    main()
