"""Makes the peers' INT8 files of a folded float .onnx (input `input` [batch,3,224,224], normalised as
ImageNet): OUT/onnxruntime.onnx by ONNX Runtime's static quantization, by channel, QDQ, and
OUT/openvino.xml by NNCF. Both see the centres of the same photographs.

    python bench/peers/quantize_mobilenetv2.py mobilenet_v2_100_folded.onnx PICTURES OUT
"""

import argparse
import pathlib

import nncf
import numpy as np
import onnx
import onnx.version_converter
import openvino as ov
from onnxruntime import quantization
from PIL import Image

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def pictures(folder, size=224):
    for path in sorted(pathlib.Path(folder).glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
        yield ((pixels - MEAN) / STD).transpose(2, 0, 1)[None]


class Reader(quantization.CalibrationDataReader):
    def __init__(self, folder):
        self.rest = pictures(folder)

    def get_next(self):
        picture = next(self.rest, None)
        return None if picture is None else {"input": picture}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("pictures")
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prepared = args.out / "prepared.onnx"
    # Scales by channel need an operator set of 13 at least.
    onnx.save(onnx.version_converter.convert_version(onnx.load(args.model), 17), prepared)
    quantization.quant_pre_process(prepared, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(prepared, args.out / "onnxruntime.onnx", Reader(args.pictures),
                                 quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                                 activation_type=quantization.QuantType.QUInt8,
                                 weight_type=quantization.QuantType.QInt8)
    model = nncf.quantize(ov.Core().read_model(args.model), nncf.Dataset(pictures(args.pictures)),
                          preset=nncf.QuantizationPreset.MIXED)
    ov.save_model(model, args.out / "openvino.xml")


if __name__ == "__main__":
    main()
