"""The embedded data set: short tagged videos with exact boxes, in the `folders` layout.

Every tag is combined with every background exactly once in the training shots and once in the others, so that
the background does not predict the tag; distractors, posts and looks are drawn independently of it.
"""

import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tcam_cache.datasets.annotation_files import COLUMNS
from tcam_cache.datasets.demo.photos import background, cut_out, demo_facts
from tcam_cache.datasets.demo.scene import Props, SceneFrame, draw_look, render_shot
from tcam_cache.errors import ConfigError
from tcam_cache.files import make_folder, storage_errors, write_text
from tcam_cache.progress import progress_bar

SPLIT_OF_VIDEO = ("train", "train", "train", "val", "test", "test")
# Fixed, not random: a set written over an earlier one replaces all of its frames.
SHOT_LENGTHS = (8, 9, 10)


class _Stage(NamedTuple):
    grounds: Sequence[Image.Image]
    distractors: Sequence[Image.Image]


class _Shot(NamedTuple):
    name: str
    split: str
    quality: int
    frames: Sequence[SceneFrame]


def demo_tags() -> tuple[str, ...]:
    """Return the tags of the demo set, in the order of its classes.

    >>> demo_tags()
    ('astronaut', 'cat', 'coin', 'cup', 'motorcycle', 'shuttle')
    """
    return tuple(dict.fromkeys(fact["tag"] for fact in demo_facts()["cutouts"]))


def write_demo(folder: Path | str, seed: int = 0, tags: Sequence[str] | None = None) -> Path:
    """Write the demo set as TAG/VIDEO/SHOT/frame0001.jpg with annotations.csv, and return that file's path.

    The same seed gives the same bytes. Old annotations are removed first, new ones are written last.

    Args:
        folder: the data set's root, created if missing.
        seed: of all random draws.
        tags: the tags to write; default all of `demo_tags`. A tag's videos do not depend on the others.

    Raises:
        ConfigError: there is no such tag.
        StorageError: the file system refuses a write.
        FrameError: the installed scikit-image lacks a photograph.
    """
    chosen = demo_tags() if tags is None else tuple(tags)
    unknown = sorted(set(chosen) - set(demo_tags()))
    if unknown:
        raise ConfigError(f"the demo set has no such tag. Those it has: {', '.join(demo_tags())}.", unknown)
    root, stage = make_folder(folder), _stage()
    table = root / "annotations.csv"
    rows = [(*COLUMNS, "split")]
    frames = len(chosen) * len(SPLIT_OF_VIDEO) * sum(SHOT_LENGTHS)
    with progress_bar(frames, "writing the demo set", "frame") as bar, storage_errors(root):
        table.unlink(missing_ok=True)
        for row in itertools.chain.from_iterable(_write_tag(root, tag, seed, stage) for tag in chosen):
            rows.append(row)
            bar.update()
    write_text(table, "".join(",".join(map(str, row)) + "\n" for row in rows))
    return table


def _stage() -> _Stage:
    facts = demo_facts()
    return _Stage(
        [background(fact) for fact in facts["backgrounds"]], [cut_out(fact) for fact in facts["distractors"]]
    )


def _write_tag(root: Path, tag: str, seed: int, stage: _Stage) -> Iterator[tuple]:
    for shot in _shots(tag, seed, stage):
        make_folder(root / shot.name)
        for number, frame in enumerate(shot.frames, start=1):
            name = f"{shot.name}/frame{number:04d}.jpg"
            frame.image.save(root / name, quality=shot.quality)
            yield name, tag, *map(int, frame.box), shot.split


def _shots(tag: str, seed: int, stage: _Stage) -> Iterator[_Shot]:
    generator = np.random.default_rng([seed, zlib.crc32(tag.encode())])
    cutouts = [cut_out(fact) for fact in demo_facts()["cutouts"] if fact["tag"] == tag]
    grounds = itertools.chain(
        *(generator.permutation(len(stage.grounds)).tolist() for _ in ("train", "rest"))
    )
    for video, split in enumerate(SPLIT_OF_VIDEO):
        look, quality = draw_look(generator), int(generator.integers(70, 93))
        for number, length in enumerate(SHOT_LENGTHS, start=1):
            props = _props(generator, cutouts[video % len(cutouts)], next(grounds), stage)
            frames = render_shot(generator, look, props, length)
            yield _Shot(f"{tag}/{video + 1:04d}/{number:03d}", split, quality, frames)


def _props(generator: np.random.Generator, cutout: Image.Image, ground: int, stage: _Stage) -> Props:
    # The post must differ from the background, or it would not be visible.
    post = (ground + int(generator.integers(1, len(stage.grounds)))) % len(stage.grounds)
    count = int(generator.integers(0, 3))
    things = generator.choice(len(stage.distractors), count, replace=False).tolist()
    return Props(cutout, stage.grounds[ground], stage.grounds[post], [stage.distractors[i] for i in things])
