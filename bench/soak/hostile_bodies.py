#!/usr/bin/env python3
"""Hostile bodies for a running `dfengine serve`: damaged pictures, malformed multipart and JSON, half requests, noise.
After each hundred a good picture must still get its answer.

Usage: bench/soak/hostile_bodies.py PORT COUNT EXPECTED.json FILE...
  EXPECTED.json  what `dfengine predict --format json` says of the files
"""
import collections
import http.client
import json
import random
import socket
import sys


def damaged(body, draw):
    body = bytearray(body)
    kind = draw.randrange(4)
    if kind == 0:
        del body[draw.randrange(len(body)):]
    elif kind == 1:
        for _ in range(draw.randrange(1, 20)):
            body[draw.randrange(min(len(body), 900))] = draw.randrange(256)
    elif kind == 2:
        at = draw.randrange(len(body))
        body[at:at] = draw.randbytes(draw.randrange(1, 200))
    else:
        body = bytearray(draw.randbytes(draw.randrange(1, 4000)))
    return bytes(body)


def multipart(body, draw):
    part = b'--B\r\nContent-Disposition: form-data; name="p"; filename="a.jpg"\r\n\r\n' + body + b"\r\n--B--\r\n"
    return damaged(part, draw)


def request(number, body, draw):
    """Method, path, headers, body."""
    kind = number % 4
    if kind == 0:
        return "POST", "/classify", {"Content-Type": "image/jpeg"}, damaged(body, draw)
    if kind == 1:
        return "POST", "/classify", {"Content-Type": "multipart/form-data; boundary=B"}, multipart(body, draw)
    if kind == 2:
        return "POST", "/explain", {}, damaged(body, draw)
    tensor = b'{"inputs":[{"name":"i","datatype":"BYTES","shape":[1],"data":["aGVsbG8="]}]}'
    return "POST", "/v2/models/best/infer", {}, damaged(tensor, draw)


def half(port, body, draw):
    with socket.create_connection(("127.0.0.1", port)) as raw:
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        raw.sendall((head + body)[:draw.randrange(1, len(head) + len(body))])


def main(port, count, expected, *files):
    port, count, draw = int(port), int(count), random.Random(1)
    with open(expected, encoding="utf-8") as stream:
        probs = {r["path"]: r["prob_fake"] for r in json.load(stream)["results"]}
    bodies = []
    for file in files:
        with open(file, "rb") as stream:
            bodies.append(stream.read())
    codes = collections.Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(count):
        body = bodies[number % len(bodies)]
        if number % 10 == 9:
            half(port, body, draw)
            codes["half"] += 1
        else:
            method, path, headers, content = request(number, body, draw)
            connection.request(method, path, body=content, headers=headers)
            answer = connection.getresponse()
            answer.read()
            codes[answer.status] += 1
        if number % 100 == 0:
            place = number // 100 % len(files)
            connection.request("POST", "/classify", body=bodies[place])
            found = json.load(connection.getresponse())["results"][0]["prob_fake"]
            assert found == probs[files[place]], (found, files[place])
    bad = [c for c in codes if c not in ("half", 200, 400, 413, 422)]
    print(json.dumps({str(k): v for k, v in codes.items()}))
    if bad:
        sys.exit(f"hostile bodies: answered with {bad}")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
