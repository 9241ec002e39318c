"""How long a cache in an S3 store takes to build and to verify: python tests/benchmarks/bench_s3.py [SHOTS]

The server is moto's, on this machine; the ratio is what carries over, both are timed in one run.
"""

import logging
import os
import sys
import time

import numpy as np

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.records import Shot, ShotCams

CLASSES, MAP_SIZE, LENGTH = ("bird", "cat"), (28, 28), 100


def main(shots=200):
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    import s3fs

    s3fs.S3FileSystem().mkdir("bench")
    names = tuple(f"{t}.jpg" for t in range(LENGTH))
    listed = tuple(
        Shot(f"bird/{n:04d}", "bird", f"bird/{n:04d}", "train", f"bird/{n:04d}", names) for n in range(shots)
    )
    plan = CachePlan(CLASSES, listed, MAP_SIZE, {"method": "layercam"}, {})
    maps = np.random.default_rng(0).random((LENGTH, *MAP_SIZE)).astype(np.float16)
    zeros, logits = np.zeros(LENGTH, np.float32), np.zeros((LENGTH, 2), np.float32)
    cams = ShotCams(maps, zeros, zeros + 1, zeros > 0, logits)
    began = time.perf_counter()
    writer = CamWriter.create("s3://bench/cache", plan)
    for shot in writer.pending():
        writer.write(shot.id, cams)
    build = time.perf_counter() - began
    began = time.perf_counter()
    problems = CamCache.open("s3://bench/cache").verify()
    verify = time.perf_counter() - began
    server.stop()
    ratio = f"build {build:.1f} s, verify {verify:.1f} s ({verify / build:.2f} of it)"
    print(f"{shots} shots of {LENGTH} frames: {ratio}")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
