"""Times ncnn on MobileNetV2 (input [3,224,224], float32), on the CPU. pnnx makes its files from the .onnx.

One JSON line per batch size on stdout. ncnn knows no batch: its pictures are computed one after the other.
In bf16 it stores activations so.

    python bench/peers/ncnn_mobilenetv2.py mobilenet_v2_100_folded.onnx --threads 2
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import ncnn
import numpy as np

from timing import seconds_per_run


def load(onnx, precision, threads):
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "model.onnx")
        shutil.copy(onnx, copy)
        # The program that pip installs beside the interpreter. fp16=0: weights stay float.
        subprocess.run([pathlib.Path(sys.executable).with_name("pnnx"), copy, "inputshape=[1,3,224,224]", "fp16=0"],
                       check=True, stdout=sys.stderr, cwd=folder)
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_bf16_storage = precision == "bf16"
        if net.load_param(str(copy.with_suffix(".ncnn.param"))) or net.load_model(str(copy.with_suffix(".ncnn.bin"))):
            sys.exit(f"ncnn does not take what pnnx made of {onnx}")
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="path of the .onnx file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="least time per batch size")
    args = parser.parse_args()

    net = load(args.model, args.precision, args.threads)
    rng = np.random.default_rng(1)
    for batch in args.batch:
        # Normal data: zeros or denormals would time another machine. A Mat does not keep its array alive.
        values = rng.standard_normal((batch, 3, 224, 224), dtype=np.float32)
        pictures = [ncnn.Mat(picture) for picture in values]

        def run():
            for picture in pictures:
                extractor = net.create_extractor()
                extractor.input(net.input_names()[0], picture)
                failed, _ = extractor.extract(net.output_names()[0])
                assert not failed

        times = seconds_per_run(run, args.seconds, 7)
        median = statistics.median(times)
        print(json.dumps({
            "peer": "ncnn", "version": ncnn.__version__, "work": "infer", "mode": args.precision, "batch": batch,
            "threads": args.threads, "runs": len(times), "median_ms": round(median * 1e3, 3),
            "min_ms": round(min(times) * 1e3, 3), "img_per_s": round(batch / median, 2),
            "best_img_per_s": round(batch / min(times), 2),
        }), flush=True)


if __name__ == "__main__":
    main()
