"""Tests of a cache behind a plain web server: one that lists folders, and those that do not."""

import functools
import http.server
import io
import threading

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import CacheError, StorageError

pytest.importorskip("aiohttp")


class Server(http.server.SimpleHTTPRequestHandler):
    """Answers as `listing` says where a folder is asked for: True lists it, a number is the status."""

    listing = True

    def log_message(self, *args):
        """Say nothing."""

    def list_directory(self, path):
        """Answer a request for a folder."""
        if self.listing is True:
            return super().list_directory(path)
        if isinstance(self.listing, int):
            self.send_error(self.listing)
            return None
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.listing)))
        self.end_headers()
        return io.BytesIO(self.listing)


PAGE = b'<a href="/">Home</a> <a href="?C=N;O=D">Name</a> <a href="https://example.org/x">Elsewhere</a>'


@pytest.fixture(params=[True, 404, 403, 405, PAGE], ids=["lists", "404", "403", "405", "page"])
def url(request, cache):
    handler = type("Handler", (Server,), {"listing": request.param})
    serve = functools.partial(handler, directory=str(cache.path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{cache.path.name}"
        server.shutdown()


def test_it_reads_as_the_folder_does(url, cache, plan):
    far = CamCache.open(url)
    assert (far.verify(), far.digest(), far.missing()) == ((), cache.digest(), ())
    assert np.array_equal(far.cams(plan.shots[2].id), cache.cams(plan.shots[2].id))
    info = far.info()
    assert (info.complete, info.bytes) == (True, None)
    assert "unknown size" in info.to_text()


def test_damage_is_found_there_too(url, cache):
    (cache.path / "cams.zarr/cam/c.0.0.0").write_bytes(b"damage")
    (problem,) = CamCache.open(url).verify()
    assert problem.startswith("bird/0000/001: a chunk cannot be decoded")


def test_what_is_not_there_is_named(url):
    with pytest.raises(CacheError, match="there is no folder"):
        CamCache.open(f"{url}-none")


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(StorageError, match="cannot read http"):
        CamCache.open("http://127.0.0.1:9/cache")
