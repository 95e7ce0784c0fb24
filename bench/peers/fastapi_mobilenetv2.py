"""The usual service: PyTorch's MobileNetV2 with dfengine's head behind FastAPI, for bench/soak/service.sh. Weights are random;
the work is that of `dfengine serve`: decode, resize with antialiasing, normalise, one logit. A request is one picture, as most
such services have it; the network's threads are those of the other side.

    python bench/peers/fastapi_mobilenetv2.py --port 8000 --threads 2
"""
import argparse
import asyncio
import io
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import torchvision
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from PIL import Image
from torch import nn
from torchvision import transforms


def make_app(threads):
    torch.set_num_threads(threads)
    model = torchvision.models.mobilenet_v2(weights=None)
    model.classifier = nn.Sequential(nn.Linear(model.last_channel, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))
    model.eval().to(memory_format=torch.channels_last)
    prepare = transforms.Compose([
        transforms.Resize((224, 224)), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    app = FastAPI()
    decoders, network = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)

    def decode(body):
        return prepare(Image.open(io.BytesIO(body)).convert("RGB")).unsqueeze(0).contiguous(
            memory_format=torch.channels_last)

    def run(image):
        with torch.inference_mode():
            return torch.sigmoid(model(image)).item()

    @app.post("/classify")
    async def classify(request: Request):
        loop = asyncio.get_running_loop()
        try:
            image = await loop.run_in_executor(decoders, decode, await request.body())
        except OSError as error:
            raise HTTPException(422, str(error)) from error
        prob = await loop.run_in_executor(network, run, image)
        return {"results": [{"prob_fake": prob, "verdict": "fake" if prob >= 0.5 else "real"}]}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    listener = socket.socket()
    listener.bind(("127.0.0.1", arguments.port))
    app = make_app(arguments.threads)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
