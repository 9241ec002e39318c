"""Tests of a cache on S3: a real server of its protocol, started here on the loopback."""

import os
import warnings

import numpy as np
import pytest

from tcam_cache.cache import CamCache
from tcam_cache.errors import CacheError, StorageError

pytest.importorskip("s3fs")
pytest.importorskip("flask", reason="moto[server] is not installed")
server = pytest.importorskip("moto.server")

ATTACHED = {"classifier.pt": b"weights"}


@pytest.fixture(scope="module")
def endpoint():
    """The address of an S3 server with one bucket, named `bucket`, and AWS variables that lead there."""
    import s3fs

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {
            "ENDPOINT_URL": f"http://{host}:{port}",
            "ACCESS_KEY_ID": "somebody",
            "SECRET_ACCESS_KEY": "secret",
            "DEFAULT_REGION": "us-east-1",
            "MAX_ATTEMPTS": "1",
        }.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("NO_PROXY", host)
        # A connection that was made before knows another address.
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield f"{host}:{port}"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch, tmp_path):
    """The URL of the bucket; packs of what lies there go into the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return "s3://bucket"


@pytest.fixture(scope="module")
def whole(endpoint, plan_of, build_all):
    """The URL of a complete cache that was built in two goes."""
    url = "s3://bucket/some/whole"
    build_all(url, plan_of(), ATTACHED, limit=2)
    assert len(CamCache.open(url).missing()) == 2
    build_all(url, plan_of(), ATTACHED)
    return url


def test_it_reads_back_what_was_written(whole, plan, cams_of):
    cache = CamCache.open(whole)
    assert (cache.missing(), cache.path) == ((), whole)
    for shot in plan.shots:
        assert np.array_equal(cache.cams(shot.id), cams_of(shot).cams)
        assert np.array_equal(cache.stats(shot.id).logits, cams_of(shot).logits)
    assert cache.attachment("classifier.pt") == b"weights"
    assert cache.verify() == ()


def test_it_holds_the_same_objects_as_a_folder(whole, path, plan, build_all, tree):
    import s3fs

    build_all(path, plan, ATTACHED)
    system = s3fs.S3FileSystem()
    names = system.find(whole)
    assert {name.removeprefix("bucket/some/whole/"): system.cat_file(name) for name in names} == tree(path)
    assert CamCache.open(whole).info().files == len(names)


def test_training_packs_it_into_a_folder_of_the_user(whole, bucket, plan, cams_of, tmp_path):
    packed = CamCache.open(whole).pack()
    assert tmp_path / "user" in packed.path.parents
    for shot in plan.shots:
        assert np.array_equal(packed.cams(shot.id), cams_of(shot).cams)
    assert CamCache.open(whole).pack().path == packed.path


def test_forked_workers_read_what_their_parent_has_open(whole):
    cache = CamCache.open(whole)
    want = cache.window("cat/0002/001", 129, 3).sum()
    workers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for _ in range(2):
            workers.append(os.fork())
            if not workers[-1]:
                same = False
                try:
                    same = cache.window("cat/0002/001", 129, 3).sum() == want
                finally:
                    os._exit(0 if same else 1)
    assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0]


@pytest.mark.parametrize("damage", [None, lambda data: data[:-7]], ids=["delete", "cut"])
def test_verify_finds_damage(bucket, plan_of, build_all, damage):
    import s3fs

    url = f"{bucket}/damaged-{'cut' if damage else 'deleted'}"
    build_all(url, plan_of((5, 1)), ATTACHED)
    system, name = s3fs.S3FileSystem(), f"{url}/cams.zarr/cam/c.0.0.0"
    data = system.cat_file(name)
    system.pipe_file(name, damage(data)) if damage else system.rm_file(name)
    (problem,) = CamCache.open(url).verify()
    assert problem.startswith("bird/0000/001: a chunk")


def test_something_else_and_nothing_are_told_apart(bucket, plan, build_all, whole):
    with pytest.raises(CacheError, match=r"s3://bucket/some holds something else") as caught:
        build_all(f"{bucket}/some", plan)
    assert caught.value.offenders == ("whole",)
    with pytest.raises(CacheError, match=r"there is no folder s3://bucket/none\."):
        CamCache.open(f"{bucket}/none")


def test_a_bucket_that_is_not_there_is_named(bucket, plan, build_all):
    with pytest.raises(CacheError, match=r"there is no folder s3://bukcet/x\."):
        CamCache.open("s3://bukcet/x")
    with pytest.raises(StorageError, match=r"cannot write s3://bukcet/x/.*no such bucket .*AWS_ENDPOINT_URL"):
        build_all("s3://bukcet/x", plan)


def test_a_server_that_does_not_answer_is_named(bucket, plan, build_all, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        for use in (CamCache.open, lambda url: build_all(url, plan)):
            with pytest.raises(StorageError, match=r"cannot read s3://bucket/x/.*Could not connect"):
                use(f"{bucket}/x")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
