"""What a step is made of: frames of shots, each with its CAM-TMP under the same crop and flip."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, default_collate

from tcam_cache.config import FitConfig
from tcam_cache.errors import TcamCacheError
from tcam_cache.records import CamSource, FrameSource, Shot
from tcam_cache.training.draws import Draw, clips_of_shot, draw_crop, draw_epoch
from tcam_cache.training.loaders import loaded, loader_of
from tcam_cache.training.ranks import SINGLE_PROCESS, Ranks
from tcam_cache.window import cam_tmp


class Sample(NamedTuple):
    """A training sample, or a batch of them with a leading axis B.

    Attributes:
        rgb: (3, S, S) uint8, the crop, not normalised.
        cam: (S, S) float32 in [0, 1], the CAM-TMP of the same crop; (0,) where no CAMs are used.
        tag: class index of the video's tag.
        seed: of the sample's own random draws.
        clip: the same for the frames of one clip, which stand beside each other in a batch.
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
    ) -> None:
        self.shots, self.class_index, self.frames, self.cams = tuple(shots), class_index, frames, cams
        self.resize_size, self.size = config.resize_size, config.image_size
        self.neighbours, self.window = neighbours, window

    def __getitem__(self, draw: Draw) -> Sample:
        shot = self.shots[draw.shot]
        crop = draw_crop(draw.clip, self.resize_size, self.size)
        pixels = self.frames.read(shot, draw.t, self.resize_size).pixels
        rgb = torch.from_numpy(pixels).permute(2, 0, 1)
        return Sample(
            crop.of(rgb).contiguous(),
            crop.of(self._temporal_cam(shot, draw.t)).contiguous() if self.cams else torch.empty(0),
            torch.tensor(self.class_index[shot.tag]),
            torch.tensor(draw.seed),
            torch.tensor(draw.clip),
        )

    def _temporal_cam(self, shot: Shot, t: int) -> torch.Tensor:
        # The maximum is taken at native resolution, before resizing: the two do not commute (Eq. 1).
        maps = self.cams.window(shot.id, t, self.neighbours, self.window)
        return resize_maps(torch.from_numpy(cam_tmp(maps))[None], self.resize_size)[0]


def resize_maps(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (B, h, w) maps to (B, size, size), bilinear, align_corners=False as everywhere."""
    return interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


class EpochBatches:
    """Batches of one epoch after another, loaded by worker processes that live as long as this object.

    Of every batch a rank gets its share, which may be empty where the last batch is smaller than the others.
    Batches and shares are made of whole clips of `together` frames, of which a batch has room for
    batch_size / together; clips of shorter shots leave some of it empty.
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
        """Iterate over the batches of an epoch, counted from 0, from a step on.

        Raises:
            TcamCacheError: whatever the sources raise, the same from a worker as from this process.
            WorkerError: a worker was killed.
        """
        return self.of_steps(epoch, range(first_step, len(self)))

    def of_steps(self, epoch: int, steps: Iterable[int]) -> Iterator[Sample]:
        """Iterate over some of an epoch's batches, by their numbers from 0.

        Raises:
            TcamCacheError: as `epoch` does.
        """
        config, size = self.config, self._clips_a_batch()
        clips = draw_epoch(self.lengths, config.frames_per_shot, config.seed, epoch, self.together)
        shares = [self.ranks.share(clips[step * size : (step + 1) * size]) for step in steps]
        self.plan[:] = [[draw for clip in share for draw in clip] for share in shares]
        for batch in loaded(self.loader):
            if isinstance(batch, TcamCacheError):
                try:
                    # Where tblib is at work (dask brings it) a worker's traceback travels, with its frames.
                    raise batch.with_traceback(None)
                finally:
                    del batch  # its traceback holds this frame: the workers would outlive their loader
            yield batch

    def __len__(self) -> int:
        clips = sum(
            clips_of_shot(length, self.config.frames_per_shot, self.together) for length in self.lengths
        )
        return -(-clips // self._clips_a_batch())

    def _clips_a_batch(self) -> int:
        return self.config.batch_size // self.together


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
