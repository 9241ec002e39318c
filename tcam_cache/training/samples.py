"""Training samples: random frames of shots, each with its CAM-TMP under the same crop and flip."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from tcam_cache.config import FitConfig
from tcam_cache.datasets.batches import loaded, loader_of
from tcam_cache.devices import resize_maps
from tcam_cache.errors import TcamCacheError
from tcam_cache.records import CamSource, FrameSource, Shot
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks
from tcam_cache.window import cam_tmp


class Draw(NamedTuple):
    """One frame an epoch draws.

    Attributes:
        shot: index of the shot in the list of training shots.
        t: index of the frame in that shot.
        seed: of the frame's own random draws (pseudo-labels); they depend neither on its batch nor on the
            worker that loads it.
        clip: seed of the draws that the frames of a clip may share (crop and flip), equal to `seed` of the
            clip's first frame.
    """

    shot: int
    t: int
    seed: int
    clip: int


@dataclass(frozen=True)
class Crop:
    """A square crop of side `size` at row `y`, column `x`, mirrored left to right when `flip`."""

    y: int
    x: int
    size: int
    flip: bool

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the crop of a (..., H, W) tensor."""
        cut = pixels[..., self.y : self.y + self.size, self.x : self.x + self.size]
        return cut.flip(-1) if self.flip else cut


def draw_epoch(
    lengths: Sequence[int],
    frames_per_shot: int,
    seed: int,
    epoch: int,
    together: int = 1,
    middle: float = 1.0,
) -> list[list[Draw]]:
    """Draw an epoch: random frames of every shot, without repeats, in random order (paper, Sec. 4.1).

    With `together` > 1, clips of so many consecutive frames are drawn instead, in random order. Clips of one
    shot never start at the same frame, and do not overlap if the shot is long enough.

    Args:
        lengths: number of frames of each shot.
        frames_per_shot: frames to draw per shot (all of a shorter one), rounded up to whole clips; 1 in the
            paper.
        seed: of the run.
        epoch: counted from 0; the draws depend on seed and epoch alone.
        together: frames of a clip; a shorter shot is one clip as a whole.
        middle: share of each shot that is drawn from, as if it were the whole shot; see `middle_frames`.

    Returns:
        The clips, each with its frames in time order; one frame per clip in the paper.

    >>> draw_epoch([1], 3, seed=0, epoch=0)[0][0][:2]
    (0, 0)
    >>> [draw.t for draw in draw_epoch([3], 1, seed=0, epoch=0, together=4)[0]]
    [0, 1, 2]
    """
    rng = np.random.default_rng([seed, epoch])
    chosen = [
        (shot, frames[times.start : times.stop])
        for shot, frames in enumerate(middle_frames(length, middle) for length in lengths)
        for times in _draw_times(rng, len(frames), frames_per_shot, together)
    ]
    seeds = iter(rng.integers(2**63, size=sum(len(times) for _, times in chosen)).tolist())
    clips = []
    for shot, times in chosen:
        own = [next(seeds) for _ in times]
        clips.append([Draw(shot, t, seed_t, own[0]) for t, seed_t in zip(times, own, strict=True)])
    return [clips[index] for index in rng.permutation(len(clips))]


def middle_frames(length: int, share: float) -> range:
    """Return the frames of a shot's middle, as many left out before it as after it: at least this share.

    Args:
        length: of the shot in frames, at least 1.
        share: in [0, 1]; 0 is the frame in the middle, or the two.

    >>> middle_frames(10, 0.6), middle_frames(11, 0.6), middle_frames(3, 0.6), middle_frames(4, 0.0)
    (range(2, 8), range(2, 9), range(0, 3), range(1, 3))
    """
    margin = min(int((length - share * length) / 2), (length - 1) // 2)
    return range(margin, length - margin)


def clips_of_shot(length: int, frames_per_shot: int, together: int) -> int:
    """Return the number of clips that an epoch draws from a shot, enough for `frames_per_shot` frames.

    >>> clips_of_shot(9, 1, 1), clips_of_shot(9, 5, 4), clips_of_shot(9, 20, 4), clips_of_shot(3, 20, 4)
    (1, 2, 3, 1)
    """
    return -(-min(frames_per_shot, length) // together)


def draw_crop(seed: int, resize_size: int, size: int) -> Crop:
    """Draw the random crop and flip of a clip or frame: uniform position, mirrored with probability 1/2."""
    rng = np.random.default_rng([seed, 0])
    y, x = rng.integers(resize_size - size + 1, size=2)
    return Crop(int(y), int(x), size, bool(rng.random() < 0.5))


def _draw_times(rng: np.random.Generator, length: int, frames_per_shot: int, together: int) -> list[range]:
    number, size = clips_of_shot(length, frames_per_shot, together), min(together, length)
    # Starts are drawn as if every clip had one frame, then shifted by the lengths of the clips before them.
    # So all placements without overlap are equally likely. In a shot too short for that, clips may overlap.
    push = size - 1 if number * size <= length else 0
    starts = rng.choice(length - size + 1 - push * (number - 1), size=number, replace=False)
    starts = starts + push * starts.argsort().argsort()
    return [range(start, start + size) for start in starts.tolist()]


class Sample(NamedTuple):
    """A training sample, or a batch of them with a leading axis B.

    Attributes:
        rgb: (3, S, S) uint8 RGB 0..255, the crop, not normalised.
        cam: (S, S) float32 in [0, 1], the CAM-TMP under the same crop and flip; (0,) without CAMs.
        tag: () int64, class index of the video's tag.
        seed: () int64, seed of the sample's own random draws.
        clip: () int64, equal for the frames of one clip, which are neighbours in the batch.
    """

    rgb: torch.Tensor
    cam: torch.Tensor
    tag: torch.Tensor
    seed: torch.Tensor
    clip: torch.Tensor


class TrainingSamples(Dataset):
    """Load the sample of a `Draw`: frame and CAM-TMP under the same squash, crop and flip."""

    def __init__(
        self,
        shots: Sequence[Shot],
        class_index: Mapping[str, int],
        frames: FrameSource,
        config: FitConfig,
        cams: CamSource | None = None,
        neighbours: int = 0,
        window: str = "before",
        crops: str = "shot",
    ) -> None:
        self.shots, self.class_index, self.frames, self.cams = tuple(shots), class_index, frames, cams
        self.resize_size, self.size = config.resize_size, config.image_size
        self.neighbours, self.window, self.crops = neighbours, window, crops

    def __getitem__(self, draw: Draw) -> Sample:
        shot, cams = self.shots[draw.shot], self.cams
        own = draw.seed if self.crops == "frame" else draw.clip
        crop = draw_crop(own, self.resize_size, self.size)
        pixels = self.frames.read(shot, draw.t, self.resize_size).pixels
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
        return Sample(
            crop.of(rgb).contiguous(),
            crop.of(self._temporal_cam(cams, shot, draw.t)).contiguous() if cams else torch.empty(0),
            torch.tensor(self.class_index[shot.tag]),
            torch.tensor(draw.seed),
            torch.tensor(draw.clip),
        )

    def _temporal_cam(self, cams: CamSource, shot: Shot, t: int) -> torch.Tensor:
        # The maximum is taken at native resolution, before resizing: the two do not commute (Eq. 1).
        maps = cams.window(shot.id, t, self.neighbours, self.window)
        return resize_maps(torch.from_numpy(cam_tmp(maps))[None], self.resize_size)[0]


class EpochBatches:
    """The batches of successive epochs, loaded by worker processes that live as long as this object.

    Each rank gets its share of every batch; of a small last batch it may be empty. Batches and shares consist
    of whole clips of `together` frames, batch_size / together clips per batch; clips of shorter shots make a
    batch smaller.
    """

    def __init__(
        self,
        samples: TrainingSamples,
        config: FitConfig,
        workers: int,
        ranks: Ranks = SINGLE_PROCESS,
        together: int = 1,
    ) -> None:
        self.lengths = [len(shot) for shot in samples.shots]
        self.config, self.ranks, self.together = config, ranks, together
        self.plan: list[list[Draw]] = []
        self.loader = loader_of(_BatchSamples(samples), workers, self.plan)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Sample]:
        """Iterate over the batches of an epoch, counted from 0, starting at `first_step`.

        Raises:
            TcamCacheError: any error of the frame and CAM sources, from a worker or from this process.
            WorkerError: a worker was killed.
        """
        return self.of_steps(epoch, range(first_step, len(self)))

    def of_steps(self, epoch: int, steps: Iterable[int]) -> Iterator[Sample]:
        """Iterate over some of an epoch's batches, by their numbers from 0.

        Raises:
            TcamCacheError: as `epoch` does.
        """
        config, size = self.config, self._clips_a_batch()
        clips = draw_epoch(
            self.lengths, config.frames_per_shot, config.seed, epoch, self.together, config.middle
        )
        shares = [self.ranks.share(clips[step * size : (step + 1) * size]) for step in steps]
        self.plan[:] = [[draw for clip in share for draw in clip] for share in shares]
        for batch in loaded(self.loader):
            if isinstance(batch, TcamCacheError):
                try:
                    # If tblib is installed (dask brings it), the worker's traceback is pickled too; drop it.
                    raise batch.with_traceback(None)
                finally:
                    del batch  # its traceback holds this frame: the workers would outlive their loader
            yield batch

    def __len__(self) -> int:
        drawn = (len(middle_frames(length, self.config.middle)) for length in self.lengths)
        clips = sum(clips_of_shot(length, self.config.frames_per_shot, self.together) for length in drawn)
        return -(-clips // self._clips_a_batch())

    def _clips_a_batch(self) -> int:
        return self.config.batch_size // self.together


class _BatchSamples(Dataset):
    """Load the samples of a batch, or return the error: raised in a worker, it would lose its type."""

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __getitem__(self, draws: Sequence[Draw]) -> Sample | TcamCacheError:
        try:
            return default_collate([self.samples[draw] for draw in draws]) if draws else _no_sample()
        except TcamCacheError as error:
            return error


def _no_sample() -> Sample:
    return Sample(*(torch.empty(0, dtype=torch.int64) for _ in Sample._fields))
