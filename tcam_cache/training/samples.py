"""What a step is made of: random frames of shots, each with its CAM-TMP under the same crop and flip."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, default_collate

from tcam_cache.config import FitConfig
from tcam_cache.errors import TcamCacheError
from tcam_cache.records import CamSource, FrameSource, Shot
from tcam_cache.training.align import COMPARED_SIZE, align_maps
from tcam_cache.training.ranks import ALONE, Ranks
from tcam_cache.window import cam_tmp, window_indices


class Draw(NamedTuple):
    """One frame an epoch draws.

    Attributes:
        shot: position of the shot in the list that is trained on.
        t: position of the frame in that shot.
        seed: of everything random about this sample (crop, flip, pseudo-labels), so that neither the batch it
            falls into nor the worker that loads it changes it.
    """

    shot: int
    t: int
    seed: int


class Sample(NamedTuple):
    """A training sample, or a batch of them with a leading axis B.

    Attributes:
        rgb: (3, S, S) uint8, the crop, not normalised.
        cam: (S, S) float32 in [0, 1], the CAM-TMP of the same crop; (0,) where no CAMs are used.
        tag: class index of the video's tag.
        seed: of the sample's own random draws.
    """

    rgb: torch.Tensor
    cam: torch.Tensor
    tag: torch.Tensor
    seed: torch.Tensor


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


def draw_epoch(lengths: Sequence[int], frames_per_shot: int, seed: int, epoch: int) -> list[Draw]:
    """Draw an epoch: random frames of every shot, without repeats, in random order (paper, Sec. 4.1).

    Args:
        lengths: number of frames of each shot.
        frames_per_shot: frames to draw of each (all of a shorter shot); 1 in the paper.
        seed: of the run.
        epoch: counted from 0; the draws depend on seed and epoch alone.

    >>> draw_epoch([1], 3, seed=0, epoch=0)[0][:2]
    (0, 0)
    """
    rng = np.random.default_rng([seed, epoch])
    chosen = [
        (shot, int(t))
        for shot, length in enumerate(lengths)
        for t in rng.choice(length, size=min(frames_per_shot, length), replace=False)
    ]
    seeds = rng.integers(2**63, size=len(chosen))
    return [Draw(*chosen[place], int(seeds[place])) for place in rng.permutation(len(chosen))]


def draw_crop(seed: int, resize_size: int, size: int) -> Crop:
    """Draw the random crop and flip of one sample: any position, mirrored half of the time."""
    rng = np.random.default_rng([seed, 0])
    y, x = rng.integers(resize_size - size + 1, size=2)
    return Crop(int(y), int(x), size, bool(rng.random() < 0.5))


class TrainingSamples(Dataset):
    """Load the sample of a `Draw`: frame and CAM-TMP under the same squash, crop and flip.

    With `align`, neighbours' CAMs follow the motion of their frames before the maximum.
    """

    def __init__(
        self,
        shots: Sequence[Shot],
        class_index: Mapping[str, int],
        frames: FrameSource,
        config: FitConfig,
        cams: CamSource | None = None,
        neighbours: int = 0,
        window: str = "before",
        align: bool = False,
    ) -> None:
        self.shots, self.class_index, self.frames, self.cams = tuple(shots), class_index, frames, cams
        self.resize_size, self.size = config.resize_size, config.image_size
        self.neighbours, self.window, self.align = neighbours, window, align

    def __getitem__(self, draw: Draw) -> Sample:
        shot = self.shots[draw.shot]
        crop = draw_crop(draw.seed, self.resize_size, self.size)
        pixels = self.frames.read(shot, draw.t, self.resize_size).pixels
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
        return Sample(
            crop.of(rgb).contiguous(),
            crop.of(self._temporal_cam(shot, draw.t)).contiguous() if self.cams else torch.empty(0),
            torch.tensor(self.class_index[shot.tag]),
            torch.tensor(draw.seed),
        )

    def _temporal_cam(self, shot: Shot, t: int) -> torch.Tensor:
        # The maximum is taken at native resolution, before resizing: the two do not commute (Eq. 1).
        maps = self.cams.window(shot.id, t, self.neighbours, self.window)
        if self.align:
            times = window_indices(t, self.neighbours, len(shot), self.window)
            frames = [self.frames.read(shot, time, COMPARED_SIZE).pixels for time in times]
            maps = align_maps(maps, frames, times.index(t))
        return resize_maps(torch.from_numpy(cam_tmp(maps))[None], self.resize_size)[0]


def resize_maps(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (B, h, w) maps to (B, size, size), bilinear, align_corners=False as everywhere."""
    return interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


class EpochBatches:
    """Batches of one epoch after another, loaded by worker processes that live as long as this object.

    Of every batch a rank gets its share, which may be empty where the last batch is smaller than the others.
    """

    def __init__(
        self, samples: TrainingSamples, config: FitConfig, workers: int, ranks: Ranks = ALONE
    ) -> None:
        self.lengths = [len(shot) for shot in samples.shots]
        self.config, self.ranks = config, ranks
        self.plan: list[list[Draw]] = []
        self.loader = DataLoader(
            _BatchSamples(samples),
            batch_size=None,
            sampler=self.plan,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Sample]:
        """Iterate over the batches of an epoch, counted from 0, from a step on.

        Raises:
            TcamCacheError: whatever the sources raise, the same from a worker as from this process.
        """
        return self.of_steps(epoch, range(first_step, len(self)))

    def of_steps(self, epoch: int, steps: Iterable[int]) -> Iterator[Sample]:
        """Iterate over some of an epoch's batches, by their numbers from 0.

        Raises:
            TcamCacheError: as `epoch` does.
        """
        draws = draw_epoch(self.lengths, self.config.frames_per_shot, self.config.seed, epoch)
        size = self.config.batch_size
        self.plan[:] = [self.ranks.share(draws[step * size : (step + 1) * size]) for step in steps]
        for batch in self.loader:
            if isinstance(batch, TcamCacheError):
                try:
                    # Where tblib is at work (dask brings it) a worker's traceback travels, with its frames.
                    raise batch.with_traceback(None)
                finally:
                    del batch  # its traceback holds this frame: the workers would outlive their loader
            yield batch

    def __len__(self) -> int:
        frames = sum(min(length, self.config.frames_per_shot) for length in self.lengths)
        return -(-frames // self.config.batch_size)


class _BatchSamples(Dataset):
    """Load the samples of a batch, or return the error: raised in a worker, it would become a traceback."""

    def __init__(self, samples: TrainingSamples) -> None:
        self.samples = samples

    def __getitem__(self, draws: Sequence[Draw]) -> Sample | TcamCacheError:
        try:
            return default_collate([self.samples[draw] for draw in draws]) if draws else _no_sample()
        except TcamCacheError as error:
            return error


def _no_sample() -> Sample:
    return Sample(*(torch.empty(0, dtype=torch.int64) for _ in Sample._fields))
