"""Tests of what a cache from elsewhere may do to whoever opens it: read, and lead nowhere else."""

import json
from contextlib import suppress

import h5py
import numpy as np
import pytest
import zarr

from tcam_cache.cache import CamCache, CamWriter
from tcam_cache.cache.format import is_attachment_name
from tcam_cache.cache.storage.arrays import Arrays
from tcam_cache.cache.storage.folder import FolderObjects
from tcam_cache.errors import CacheError

OUTSIDE = ["../victim.txt", "/victim.txt", "a/b", "..\\victim.txt", "C:victim", "", ".", "..", "a\0b"]
OWN = ["cache.json", "commits", "frames", "pack", "cams.zarr"]


@pytest.mark.parametrize("name", OUTSIDE + OWN)
def test_an_attachment_is_a_plain_file_of_its_own(name, path, plan):
    assert not is_attachment_name(name)
    with pytest.raises(CacheError, match="plain file names"):
        CamWriter.create(path, plan, {name: b"data"})
    assert not path.exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_folder_whose_marker_leads_out_is_refused(name, cache):
    marker = json.loads((cache.path / "cache.json").read_text())
    marker["attachments"][name] = "0" * 64
    (cache.path / "cache.json").write_text(json.dumps(marker))
    with pytest.raises(CacheError, match="lead out of the cache"):
        CamCache.open(cache.path)


def test_an_exported_file_whose_marker_leads_out_writes_nothing(cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    (tmp_path / "victim.txt").write_text("mine")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        marker = json.loads(file["files/cache.json"][()].tobytes())
        marker["attachments"]["../victim.txt"] = marker["attachments"].pop("classifier.pt")
        del file["files/cache.json"]
        file["files/cache.json"] = np.frombuffer(json.dumps(marker).encode(), np.uint8)
    with pytest.raises(CacheError, match="lead out of the cache"):
        CamCache.open(tmp_path / "x.h5")
    assert (tmp_path / "victim.txt").read_text() == "mine"


@pytest.mark.parametrize("link", ["external", "soft", "storage"])
def test_an_exported_file_that_leads_to_another_is_refused(link, cache, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((264, 4, 6), np.float16)
    (tmp_path / "secret.raw").write_bytes(bytes(264 * 4 * 6 * 2))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        shape = file["cam"].shape
        del file["cam"]
        if link == "external":
            file["cam"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        elif link == "soft":
            file["cam"] = h5py.SoftLink("/frame_stats")
        else:
            external = [(str(tmp_path / "secret.raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("cam", shape, np.float16, external=external)
    with pytest.raises(CacheError, match="leads to another file"):
        CamCache.open(tmp_path / "x.h5").cams("cat/0002/001")


@pytest.mark.parametrize("name", [".DS_Store", "._000000.json", "Thumbs.db", "desktop.ini", "@eaDir"])
@pytest.mark.parametrize("folder", ["", "commits", "cams.zarr", "frames", "pack"])
def test_what_systems_leave_in_its_folders_is_no_damage(name, folder, cache, plan, build_all, tmp_path):
    digest = cache.digest()
    (cache.path / folder).mkdir(exist_ok=True)
    litter = cache.path / folder / name
    litter.mkdir() if name == "@eaDir" else litter.write_bytes(b"litter")
    cache = CamCache.open(cache.path)
    assert (cache.verify(), cache.digest(), cache.missing()) == ((), digest, ())
    cache.pack()
    cache.to_h5(tmp_path / "x.h5")
    assert build_all(cache.path, plan).pending() == ()


def test_a_folder_with_nothing_but_what_systems_leave_is_empty(path, plan, build_all):
    path.mkdir()
    (path / ".DS_Store").write_bytes(b"litter")
    build_all(path, plan)
    assert CamCache.open(path).verify() == ()


LINKED = [
    "cache.json", "classifier.pt", "commits", "commits/000000.json", "frames", "pack",
    "cams.zarr", "cams.zarr/cam", "cams.zarr/cam/zarr.json", "cams.zarr/cam/c.0.0.0",
]  # fmt: skip


def use(path, plan, build_all):
    """Do everything that reads from a cache or writes into it."""
    build_all(path, plan)
    cache = CamCache.open(path)
    cache.attachment("classifier.pt")
    cache.cams(plan.shots[0].id)
    cache.frames(None, [])._folder.side(plan.shots[0].id)
    cache.pack()


@pytest.mark.parametrize("name", LINKED)
def test_a_link_that_leads_out_is_neither_read_nor_written_through(name, path, plan, build_all, tmp_path):
    build_all(path, plan, {"classifier.pt": b"data"}, limit=2)
    for folder in ("frames", "pack"):
        (path / folder).mkdir(exist_ok=True)
    outside = tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)
    if outside.is_dir():
        (outside / "mine.npy").write_bytes(b"mine")
    before = sorted(file.name for file in outside.rglob("*"))
    with pytest.raises(CacheError, match="leads out of the cache"):
        use(path, plan, build_all)
    assert sorted(file.name for file in outside.rglob("*")) == before


def test_links_within_a_cache_and_to_a_cache_are_followed(cache, plan, build_all, tmp_path):
    (cache.path / "commits").rename(cache.path / "records")
    (cache.path / "commits").symlink_to("records")
    (tmp_path / "link").symlink_to(cache.path)
    use(tmp_path / "link", plan, build_all)
    assert CamCache.open(tmp_path / "link").missing() == ()


@pytest.mark.parametrize("name", [*LINKED, "frames/000000.bin"])
def test_a_link_that_leads_to_itself_is_refused(name, path, plan, build_all):
    build_all(path, plan, {"classifier.pt": b"data"}, limit=2)
    for folder in ("frames", "pack"):
        (path / folder).mkdir(exist_ok=True)
    if (path / name).exists():
        (path / name).rename(path / "moved")
    (path / name).symlink_to(path / name)
    with pytest.raises(CacheError, match="leads to itself"):
        use(path, plan, build_all)


def test_broken_links_are_not_counted(cache):
    size = cache.info().bytes
    (cache.path / "loop").symlink_to("loop")
    (cache.path / "gone").symlink_to("nowhere")
    assert cache.info().bytes == size


MARKERS = [
    ("fingerprint", 7), ("classes", 5), ("classes", "abc"), ("classes", ["bird", 3, "cat"]),
    ("classes", ["bird", "bird", "cat"]), ("map_size", [4]), ("map_size", [0, 6]), ("map_size", [4, "6"]),
    ("map_size", [4, True]), ("map_size", [4, 10**9]), ("settings", []), ("recorded", None),
    ("attachments", ["classifier.pt"]), ("attachments", {"classifier.pt": 3}), ("index", None), ("more", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), MARKERS)
def test_a_marker_with_a_field_of_another_kind_is_refused_by_name(field, value, cache, plan):
    marker = json.loads((cache.path / "cache.json").read_text())
    (cache.path / "cache.json").write_text(json.dumps(marker | {field: value}))
    for refused in (lambda: CamCache.open(cache.path), lambda: CamWriter.create(cache.path, plan)):
        with pytest.raises(CacheError, match=r"cache\.json is damaged") as caught:
            refused()
        assert caught.value.offenders[0].startswith(f"{field}: ")


@pytest.mark.parametrize("data", [b"[1]", b'"text"', b"null", b"\xff", b"[" * 100_000, b"{}"])
def test_a_marker_that_is_something_else_is_refused(data, cache):
    (cache.path / "cache.json").write_bytes(data)
    with pytest.raises(CacheError, match=r"cache\.json is damaged"):
        CamCache.open(cache.path)


COMMITS = [
    ("frames", "5"), ("frames", 5.0), ("frames", 4), ("frames", -5), ("flat", -1), ("flat", 6), ("flat", "1"),
    ("flat", None), ("sha256", None), ("sha256", 5), ("stamp", 3), ("content", []), ("fingerprint", ["x"]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), COMMITS)
def test_a_commit_record_with_nonsense_counts_as_none_and_is_named(field, value, cache, plan):
    record, shot = cache.path / "commits/000000.json", plan.shots[0]
    record.write_text(json.dumps(json.loads(record.read_text()) | {field: value}))
    cache = CamCache.open(cache.path)
    (problem,) = cache.verify()
    assert problem.startswith("commits/000000.json: is no commit record of this cache")
    assert cache.missing() == (shot.id,)
    with pytest.raises(CacheError, match="is not finished"):
        cache.cams(shot.id)
    assert CamWriter.create(cache.path, plan).pending() == (shot,)


def test_a_commit_record_of_endless_brackets_counts_as_none(cache):
    (cache.path / "commits/000000.json").write_text("[" * 100_000)
    assert len(CamCache.open(cache.path).missing()) == 1


def rewrite(path, name, values):
    """Replace one column of the index, and the digest that cache.json keeps of the index."""
    group = zarr.open_group(str(path / "cams.zarr"), mode="r+", zarr_format=3)
    attributes = {"chunks": values.shape, "dtype": values.dtype, "overwrite": True}
    group.create_array(name, shape=values.shape, **attributes)[...] = values
    marker = json.loads((path / "cache.json").read_text())
    with suppress(CacheError):
        marker["index"] = Arrays(FolderObjects(path)).index(tuple(marker["classes"])).digest
    (path / "cache.json").write_text(json.dumps(marker))


def reads(cache, shot_id):
    """Return everything that reads a shot's numbers."""
    return (
        lambda: cache.cams(shot_id),
        lambda: cache.window(shot_id, 0, 1),
        lambda: cache.stats(shot_id),
        cache.statistics,
        cache.pack,
    )


INDICES = [
    ("shot_start", np.array([-128, 128, 256, 512])), ("shot_start", np.array([0, 128, 512, 256])),
    ("shot_start", np.array([0.0, 128, 256, 512])), ("shot_start", np.array([[0, 128, 256, 512]])),
    ("row_size", np.array([0, 1, 130, 128])), ("row_size", np.array([-5, 1, 130, 128])),
    ("row_size", np.array([5, 1, 130])), ("row_size", np.array([[5], [1], [130], [128]])),
    ("shot_start", np.array([0, 128, 256, 10**6])), ("shot_start", np.array([0, 128, 256, 2**62])),
    ("label", np.array([0, 1, 2, 7])), ("label", np.zeros((4, 4), int)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), INDICES)
def test_an_index_that_cannot_be_is_refused_by_every_reader(name, values, cache, plan):
    rewrite(cache.path, name, values)
    cache = CamCache.open(cache.path)
    for read in reads(cache, plan.shots[3].id):
        with pytest.raises(CacheError, match="damaged"):
            read()
    assert cache.verify()


@pytest.mark.parametrize("change", [{"map_size": [6, 4]}, {"settings": {"logits": False}}])
def test_arrays_of_another_shape_than_the_marker_says_are_never_read(change, cache, plan):
    marker = json.loads((cache.path / "cache.json").read_text())
    (cache.path / "cache.json").write_text(json.dumps(marker | change))
    cache = CamCache.open(cache.path)
    maps, window, *others = reads(cache, plan.shots[3].id)
    for read in others if "settings" in change else (maps, window, *others[1:]):
        with pytest.raises(CacheError, match="is damaged: run `tcam-cache verify`"):
            read()
    assert cache.verify()


@pytest.mark.parametrize("name", ["cam", "frame_stats"])
def test_arrays_of_another_type_or_length_are_never_read(name, cache, plan):
    file = cache.path / f"cams.zarr/{name}/zarr.json"
    metadata = json.loads(file.read_text())
    for change in ({"data_type": "int16", "fill_value": 0}, {"shape": [512, *metadata["shape"][1:]]}):
        file.write_text(json.dumps(metadata | change))
        damaged = CamCache.open(cache.path)
        for read in reads(damaged, plan.shots[3].id)[3:] if name == "cam" else (damaged.statistics,):
            with pytest.raises(CacheError, match="damaged"):
                read()
        assert damaged.verify()


def change_h5(path, name, values):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("files/cache.json", "text"), ("files/cache.json", np.ones(2)), ("flat_frames", np.zeros(3, int)),
        ("sha256", np.zeros(4)), ("sha256", np.array([b"a"] * 4)), ("shot", np.zeros((4, 2))),
        ("row_size", np.array([5, 1, 130, 128.0])), ("cam", np.zeros((264, 6, 4), "f2")),
        ("cam", np.zeros((264, 4, 6), "f4")), ("cam", np.zeros((9, 4, 6), "f2")),
        ("frame_stats", np.zeros(6)),
    ],
)  # fmt: skip
def test_an_exported_file_with_nonsense_is_refused(name, values, cache, plan, tmp_path):
    cache.to_h5(tmp_path / "x.h5")
    change_h5(tmp_path / "x.h5", name, values)
    with pytest.raises(CacheError):
        for read in reads(CamCache.open(tmp_path / "x.h5"), plan.shots[3].id):
            read()


def test_a_pack_that_is_a_link_is_made_anew(cache, tmp_path):
    path = cache.pack().path
    path.rename(tmp_path / "other.npy")
    path.symlink_to(tmp_path / "other.npy")
    assert CamCache.open(cache.path).pack().path == path and not path.is_symlink()
