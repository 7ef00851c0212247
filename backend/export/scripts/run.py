#!/usr/bin/env python3
"""Runs a dnnsplit bundle with ONNX Runtime on this machine. An example, not a server.

    python3 run.py                    one process, the sub-models in the manifest's order
    python3 run.py --processes        one process a processor, tensors over loopback
    python3 run.py --check            compare every output with the whole model, bit for bit

Needs onnxruntime and numpy. Inputs are drawn from a seed; a file MODEL.hints.json beside
the model can say {"shapes": {INPUT: [...]}, "sym": {DIM: N}, "values": {INPUT: ...}}.
"""
import argparse
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import onnxruntime as ort

BUNDLE = "."  # relative to this file
MODEL = ""  # the whole model, relative to this file; "": where the manifest's name leads to

DTYPES = {
    "float16": np.float16, "float32": np.float32, "float64": np.float64, "bool": np.bool_, "string": np.object_,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
}


def fail(message):
    sys.exit("run.py: " + message)


def session(path, provider=None):
    """Loads a model with graph optimisation off and on one thread: what makes results comparable."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    if provider and provider != "CPUExecutionProvider" and provider in ort.get_available_providers():
        providers.insert(0, provider)
    return ort.InferenceSession(path, sess_options=options, providers=providers)


def run(loaded, feeds):
    """Runs a session on named arrays and returns its outputs by name."""
    wanted = [i.name for i in loaded.get_inputs()]
    names = [o.name for o in loaded.get_outputs()]
    return dict(zip(names, loaded.run(names, {n: feeds[n] for n in wanted})))


class Bundle:
    def __init__(self, folder):
        self.folder = folder
        path = os.path.join(folder, "manifest.json")
        try:
            with open(path, encoding="utf-8") as f:
                self.manifest = json.load(f)
        except (OSError, ValueError) as e:
            fail("%s: %s" % (path, e))
        if self.manifest.get("schema") != "dnnsplit/manifest/v1":
            fail("%s: its schema is %r" % (path, self.manifest.get("schema")))
        self.submodels = {s["id"]: s for s in self.manifest["submodels"]}
        self.processors = [p for p in self.manifest["processors"] if p["submodels"]]

    def load(self, submodel, use_providers):
        provider = None
        if use_providers:
            provider = next(p["provider"] for p in self.processors if p["name"] == submodel["processor"])
        return session(os.path.join(self.folder, submodel["file"]), provider)

    def model(self, named):
        """The whole model: as named, beside the bundle, here, or in the bundle."""
        name = self.manifest["model"]["file"]
        beside = os.path.dirname(os.path.abspath(self.folder))
        tried = [os.path.join(beside, name), name, os.path.join(self.folder, name)]
        if MODEL:
            tried.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), MODEL))
        if named:
            tried = [named]
        for path in tried:
            if os.path.isfile(path):
                return path
        fail("the whole model %s is not there, name it with --model" % (named or name))


def extent(d, sizes):
    """The size of a dimension: a number, a name, or a sum of them; None if nothing is known of it."""
    if d is None or isinstance(d, int):
        return 1 if d is None else d
    if d in sizes or " + " not in d:
        return int(d) if d.isdigit() else int(sizes.get(d, 1))
    return sum(extent(term, sizes) for term in d.split(" + "))


def draw(bundle, seed, dims, hints):
    """Makes an array for every input of the model."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for t in bundle.manifest["model"]["inputs"]:
        name, dtype, shape = t["name"], t["dtype"], t["shape"]
        if dtype not in DTYPES:
            fail("input %r is of type %s, which numpy does not have" % (name, dtype))
        if name in hints.get("shapes", {}):
            shape = hints["shapes"][name]
        elif shape is None:
            fail("the rank of input %r is not known: give a shape in a hints file" % name)
        shape = [extent(d, {**hints.get("sym", {}), **dims}) for d in shape]
        if name in hints.get("values", {}):
            value = hints["values"][name]
            if isinstance(value, list):
                feeds[name] = np.array(value, dtype=DTYPES[dtype]).reshape(shape)
            else:
                feeds[name] = np.full(shape, value, dtype=DTYPES[dtype])
        elif dtype == "string":
            feeds[name] = np.array([str(v) for v in rng.integers(0, 100, size=int(np.prod(shape)))], dtype=np.object_).reshape(shape)
        elif dtype.startswith("float"):
            feeds[name] = rng.random(shape).astype(DTYPES[dtype])
        elif "mask" in name.lower():
            feeds[name] = np.ones(shape, dtype=DTYPES[dtype])
        else:  # 0 or 1 is an index into nearly anything
            feeds[name] = rng.integers(0, 2, size=shape).astype(DTYPES[dtype])
    return feeds


def outputs_of(bundle, values):
    return {o["tensor"]: values[o["tensor"]] for o in bundle.manifest["outputs"]}


def run_here(bundle, feeds, use_providers):
    """Runs the sub-models one after the other."""
    loaded = {i: bundle.load(s, use_providers) for i, s in bundle.submodels.items()}
    values = dict(feeds)
    start = time.perf_counter()
    for s in bundle.manifest["submodels"]:
        values.update(run(loaded[s["id"]], values))
    return outputs_of(bundle, values), time.perf_counter() - start


# Tensors on a socket: the length of a JSON header, the header, then all contents.


def send(sock, head, arrays):
    tensors, bodies = [], []
    for name, a in arrays.items():
        a = np.asarray(a)
        if a.dtype == np.object_:
            tensors.append({"name": name, "dtype": "string", "shape": list(a.shape), "strings": [str(s) for s in a.ravel()]})
            continue
        body = np.ascontiguousarray(a).tobytes()
        tensors.append({"name": name, "dtype": a.dtype.name, "shape": list(a.shape), "bytes": len(body)})
        bodies.append(body)
    text = json.dumps({**head, "tensors": tensors}).encode()
    sock.sendall(struct.pack("<I", len(text)) + text)
    for body in bodies:
        sock.sendall(body)


def receive(stream):
    def exactly(n):
        data = stream.read(n)
        if len(data) != n:
            raise ConnectionError("the other side closed the connection")
        return data

    head = json.loads(exactly(struct.unpack("<I", exactly(4))[0]))
    arrays = {}
    for t in head.pop("tensors"):
        if t["dtype"] == "string":
            arrays[t["name"]] = np.array(t["strings"], dtype=np.object_).reshape(t["shape"])
        else:
            body = bytearray(exactly(t["bytes"]))  # bytearray: an array over it may be empty
            arrays[t["name"]] = np.ndarray(t["shape"], dtype=DTYPES[t["dtype"]], buffer=body)
    return head, arrays


def work(bundle, processor, port, use_providers):
    """A worker process: runs the sub-models of one processor as it is told."""
    loaded = {s["id"]: bundle.load(s, use_providers) for s in bundle.manifest["submodels"] if s["processor"] == processor}
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as stream:
        send(sock, {"processor": processor, "token": os.environ["DNNSPLIT_TOKEN"]}, {})
        while True:
            head, arrays = receive(stream)
            if "submodel" not in head:
                return
            send(sock, {}, run(loaded[head["submodel"]], arrays))


def run_apart(bundle, feeds, args):
    """Runs a process a processor. Each takes its sub-models in order, as soon as their inputs are there."""
    token = secrets.token_hex(16)
    values, ready, errors = dict(feeds), threading.Condition(), []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(600)
        workers = []
        try:
            for p in bundle.processors:
                command = [sys.executable, os.path.abspath(__file__), "--bundle", bundle.folder, "--worker", p["name"], "--port", str(server.getsockname()[1])]
                if args.providers:
                    command.append("--providers")
                workers.append(subprocess.Popen(command, env={**os.environ, "DNNSPLIT_TOKEN": token}))
            links = {}
            server.settimeout(1)
            while len(links) < len(workers):
                if any(w.poll() is not None for w in workers):
                    fail("a worker process ended before it was ready")
                try:
                    sock, _ = server.accept()
                except socket.timeout:
                    continue
                sock.settimeout(None)
                stream = sock.makefile("rb")
                head, _ = receive(stream)
                if head.get("token") != token:
                    sock.close()
                    continue
                links[head["processor"]] = (sock, stream)

            def drive(p):
                sock, stream = links[p["name"]]
                try:
                    for i in p["submodels"]:
                        needs = bundle.submodels[i]["inputs"]
                        with ready:
                            ready.wait_for(lambda: errors or all(n in values for n in needs))
                            if errors:
                                return
                            arrays = {n: values[n] for n in needs}
                        send(sock, {"submodel": i}, arrays)
                        _, made = receive(stream)
                        with ready:
                            values.update(made)
                            ready.notify_all()
                except Exception as e:  # the other threads must not wait for this one
                    with ready:
                        errors.append("processor %s: %s" % (p["name"], e))
                        ready.notify_all()

            start = time.perf_counter()
            threads = [threading.Thread(target=drive, args=(p,)) for p in bundle.processors]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            took = time.perf_counter() - start
            if errors:
                fail(errors[0])
            for sock, _ in links.values():
                send(sock, {}, {})
        except BaseException:
            for w in workers:
                w.kill()
            raise
        finally:
            for w in workers:
                w.wait()
    return outputs_of(bundle, values), took


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == np.object_:
        return a.ravel().tolist() == b.ravel().tolist()
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=os.path.join(here, BUNDLE), help="folder of the bundle")
    parser.add_argument("--model", help="the whole model, for --check")
    parser.add_argument("--processes", action="store_true", help="one process a processor")
    parser.add_argument("--check", action="store_true", help="compare with the whole model; exit code 3 if it differs")
    parser.add_argument("--providers", action="store_true", help="use the manifest's execution providers where they are there; results then differ by rounding")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=N", help="extent of a symbolic dimension (default 1)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    bundle = Bundle(args.bundle)
    if args.worker:
        work(bundle, args.worker, args.port, args.providers)
        return
    hints, model = {}, None
    if args.check:
        model = bundle.model(args.model)
        if os.path.isfile(model + ".hints.json"):
            with open(model + ".hints.json", encoding="utf-8") as f:
                hints = json.load(f)
    try:
        dims = {k: int(v) for k, v in (d.rsplit("=", 1) for d in args.dim)}
    except ValueError:
        fail("--dim wants NAME=N")
    feeds = draw(bundle, args.seed, dims, hints)
    got, took = run_apart(bundle, feeds, args) if args.processes else run_here(bundle, feeds, args.providers)
    for name, a in got.items():
        print("%s: %s%s" % (name, np.asarray(a).dtype.name, list(np.asarray(a).shape)))
    print("%d sub-models in %.3f ms" % (len(bundle.submodels), 1e3 * took))
    if args.check:
        want = run(session(model), feeds)
        different = [name for name in got if not same(got[name], want[name])]
        for name in different:
            print("DIFFERENT: " + name)
        if different:
            sys.exit(3)
        print("EQUAL: all outputs are those of %s, bit for bit" % os.path.basename(model))


if __name__ == "__main__":
    main()
