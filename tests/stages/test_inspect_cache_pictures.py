"""Tests of the pictures of a cache: what is drawn, in which order, and how a flat map is told from others."""

import shutil

import numpy as np
import pytest

from tcam_cache.cache import CachePlan, CamCache, CamWriter
from tcam_cache.datasets.manifest_file import MANIFEST_NAME, attached_manifest
from tcam_cache.errors import CacheError
from tcam_cache.evaluation.report.pictures import faded, overlay_cam, scale
from tcam_cache.records import ShotCams
from tcam_cache.stages.inspect import TILE_WIDTH, class_sheet, shot_animation, shot_sheet

STRIP = 22


@pytest.fixture
def half_flat(small_cache, tmp_path):
    """The first shot of each class; the map of frame t is flat where t is odd, else bright at the left."""
    given = CamCache.open(small_cache)
    manifest = attached_manifest(given)
    kept = {shot.tag: shot for shot in reversed(manifest.shots)}
    plan = CachePlan(manifest.classes, manifest.shots, (1, 2), {"method": "layercam"}, {})
    attachments = {MANIFEST_NAME: given.attachment(MANIFEST_NAME)}
    writer = CamWriter.create(tmp_path / "half", plan, attachments)
    for shot in kept.values():
        flat = np.arange(len(shot)) % 2 > 0
        maps = np.where(flat[:, None, None], 0, np.array([[[1, 0]]])).astype(np.float16)
        zeros = np.zeros(len(shot), np.float32)
        writer.write(
            shot.id, ShotCams(maps, zeros, zeros + ~flat, flat, np.zeros((len(shot), 3), np.float32))
        )
    return CamCache.open(tmp_path / "half")


def frames(cache, shot_id):
    """Return a shot's frames at the size of a tile."""
    from tcam_cache.datasets import ImageFrames

    manifest = attached_manifest(cache)
    shot, source = manifest.shot(shot_id), ImageFrames(manifest.root)
    return [scale(source.read(shot, t).pixels, TILE_WIDTH, 180) for t in range(len(shot))]


def test_the_sheet_of_a_shot_shows_its_frames_under_their_maps_and_flat_ones_pale(half_flat):
    sheet = shot_sheet(half_flat, "bird/0001/001", None)
    assert sheet.shape == (180 + STRIP, 6 * (TILE_WIDTH + 6) - 6, 3)
    for t, frame in enumerate(frames(half_flat, "bird/0001/001")):
        tile = sheet[STRIP:, t * (TILE_WIDTH + 6) :][:, :TILE_WIDTH]
        assert np.array_equal(tile, faded(frame) if t % 2 else overlay_cam(frame, np.array([[1.0, 0.0]])))


def test_the_sheet_of_classes_has_a_row_for_each_with_finished_shots(half_flat, small_cache):
    heading, row = 28, 180 + STRIP
    sheet = class_sheet(half_flat, None)
    assert sheet.shape[0] == 3 * (heading + row) + 2 * 14
    birds = frames(half_flat, "bird/0001/001")
    assert np.array_equal(
        sheet[heading + STRIP : heading + row, :TILE_WIDTH], overlay_cam(birds[0], [[1, 0]])
    )
    assert np.array_equal(
        sheet[heading + STRIP : heading + row, TILE_WIDTH + 6 :][:, :TILE_WIDTH], faded(birds[1])
    )
    whole = class_sheet(CamCache.open(small_cache), None)
    assert whole.shape == (sheet.shape[0], 6 * (TILE_WIDTH + 6) - 6, 3)


def test_a_row_prefers_different_videos(small_cache):
    # Car has three videos, the first and the last of two shots: one shot of each of these is shown.
    sheet = class_sheet(CamCache.open(small_cache), None)
    cache = CamCache.open(small_cache)
    top = 28 + 180 + STRIP + 14 + 28 + STRIP
    for column, shot_id, t in ((0, "car/0001/001", 0), (3, "car/0003/001", 0)):
        tile = sheet[top:, column * (TILE_WIDTH + 6) :][:180, :TILE_WIDTH]
        want = overlay_cam(frames(cache, shot_id)[t], cache.cams(shot_id)[t])
        assert np.array_equal(tile, want)


def test_a_moving_shot_is_frame_cam_and_cam_tmp_of_every_frame(half_flat):
    shown = list(shot_animation(half_flat, "bird/0001/001", None))
    given = frames(half_flat, "bird/0001/001")
    assert len(shown) == len(given) == 6
    left = np.array([[1.0, 0.0]])
    for t, (picture, frame) in enumerate(zip(shown, given, strict=True)):
        tiles = [picture[STRIP:, x * (TILE_WIDTH + 6) :][:, :TILE_WIDTH] for x in range(3)]
        assert np.array_equal(tiles[0], frame)
        assert np.array_equal(tiles[1], overlay_cam(frame, left * (t % 2 == 0)))
        # The maximum over two frames is bright throughout: every other map is.
        assert np.array_equal(tiles[2], overlay_cam(frame, left))


def test_frames_of_other_sizes_take_the_first_ones(half_flat, data_copy):
    from PIL import Image

    path = data_copy / "bird/0001/001/frame0002.jpg"
    with Image.open(path) as image:
        larger = image.resize((100, 20))
    larger.save(path)
    shapes = {picture.shape for picture in shot_animation(half_flat, "bird/0001/001", data_copy)}
    assert shapes == {(180 + STRIP, 3 * (TILE_WIDTH + 6) - 6, 3)}


def test_without_a_finished_shot_or_a_manifest_there_is_nothing_to_draw(half_flat, tmp_path):
    copy = shutil.copytree(half_flat.path, tmp_path / "none")
    shutil.rmtree(copy / "commits")
    with pytest.raises(CacheError, match=r"no shot .* is finished yet"):
        class_sheet(CamCache.open(copy), None)
    plan = CachePlan(("bird",), attached_manifest(half_flat).split("val")[:1], (1, 2), {"method": "x"}, {})
    CamWriter.create(tmp_path / "bare", plan)
    with pytest.raises(CacheError, match=r"no file 'manifest\.jsonl' attached"):
        class_sheet(CamCache.open(tmp_path / "bare"), None)
