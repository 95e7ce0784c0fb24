#!/usr/bin/env python3
"""Hostile bodies for a running `dfengine serve`: damaged pictures, malformed multipart and JSON, JSON nested deeply, lengths
that are not the body's, huge headers, half requests, noise; beside them clients that send a byte now and then. After each
hundred a good picture must still get its answer.

Usage: bench/soak/hostile_bodies.py PORT COUNT EXPECTED.json FILE...
  EXPECTED.json  what `dfengine predict --format json` says of the files
"""
import collections
import http.client
import json
import random
import socket
import sys
import threading

SLOW_CLIENTS = 16


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
    kind = number % 5
    if kind == 0:
        return "POST", "/classify", {"Content-Type": "image/jpeg"}, damaged(body, draw)
    if kind == 1:
        return "POST", "/classify", {"Content-Type": "multipart/form-data; boundary=B"}, multipart(body, draw)
    if kind == 2:
        return "POST", "/explain", {}, damaged(body, draw)
    if kind == 3:
        depth = draw.randrange(1, 200000)
        return "POST", "/v2/models/best/infer", {}, b'{"inputs":' + draw.choice([b"[", b'{"a":']) * depth
    tensor = b'{"inputs":[{"name":"i","datatype":"BYTES","shape":[1],"data":["aGVsbG8="]}]}'
    return "POST", "/v2/models/best/infer", {}, damaged(tensor, draw)


def post(length, more=""):
    return f"POST /classify HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {length}\r\n\r\n".encode()


def broken(port, number, body, draw):
    """A request that is none, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        kind = number // 10 % 4
        if kind == 0:
            request = post(len(body)) + body
            raw.sendall(request[:draw.randrange(1, len(request))])
        elif kind == 1:  # what is too much is taken for a next request
            raw.sendall(post(draw.randrange(len(body))) + body)
        elif kind == 2:
            raw.sendall(post(draw.choice(["-1", "1e9", "99999999999999999999", "0x10", ""])) + body)
        else:
            try:
                raw.sendall(post(len(body), "".join(f"X-{i}: {'y' * 4000}\r\n" for i in range(draw.randrange(1, 200)))))
                raw.sendall(body)
            except OSError:
                pass  # it need not read all of it


def slow(port, body, end):
    """Sends a request so slowly that the service must give it up."""
    while not end.is_set():
        with socket.create_connection(("127.0.0.1", port)) as raw:
            try:
                for byte in post(len(body)) + body:
                    if end.wait(0.05):
                        return
                    raw.send(bytes([byte]))
            except OSError:
                pass


def main(port, count, expected, *files):
    port, count, draw = int(port), int(count), random.Random(1)
    with open(expected, encoding="utf-8") as stream:
        probs = {r["path"]: r["prob_fake"] for r in json.load(stream)["results"]}
    bodies = []
    for file in files:
        with open(file, "rb") as stream:
            bodies.append(stream.read())
    codes = collections.Counter()
    end = threading.Event()
    clients = [threading.Thread(target=slow, args=(port, bodies[0], end)) for _ in range(SLOW_CLIENTS)]
    for client in clients:
        client.start()
    try:
        ask(port, count, draw, bodies, probs, files, codes)
    finally:
        end.set()
        for client in clients:
            client.join()
    bad = [c for c in codes if c not in ("broken", 200, 400, 413, 422)]
    print(json.dumps({str(k): v for k, v in codes.items()}))
    if bad:
        sys.exit(f"hostile bodies: answered with {bad}")


def ask(port, count, draw, bodies, probs, files, codes):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(count):
        body = bodies[number % len(bodies)]
        if number % 10 == 9:
            broken(port, number, body, draw)
            codes["broken"] += 1
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


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
