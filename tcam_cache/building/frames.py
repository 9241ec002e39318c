"""Store squashed and re-encoded frames beside their CAMs, for fast decoding in training."""

from collections.abc import Callable, Collection, Sequence

from torch.utils.data import Dataset

from tcam_cache.cache import CamWriter, ShotFrames, encode_frame
from tcam_cache.datasets.batches import in_order
from tcam_cache.errors import FrameError
from tcam_cache.records import FrameSource, Shot


class _EncodedShots(Dataset):
    def __init__(self, shots: Sequence[Shot], source: FrameSource, side: int) -> None:
        self.shots, self.source, self.side = shots, source, side

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, index: int) -> tuple[list[bytes], list[tuple[int, int]], list[str]]:
        shot = self.shots[index]
        images, sizes, faults = [], [], []
        for t in range(len(shot)):
            try:
                frame = self.source.read(shot, t, self.side)
            except FrameError as error:
                faults.extend(error.offenders or [error.message])
                continue
            images.append(encode_frame(frame.pixels))
            sizes.append((frame.width, frame.height))
        return images, sizes, faults


def store_frames(
    shots: Sequence[Shot],
    source: FrameSource,
    writer: CamWriter,
    side: int,
    workers: int,
    on_frames: Callable[[int], object],
    known: Collection[str] = (),
) -> tuple[str, ...]:
    """Store the frames of shots, and return the unreadable ones; their shots are not stored.

    Args:
        shots: the shots to store.
        source: reads them.
        writer: of the cache.
        side: that frames are squashed to.
        workers: processes that decode and encode; 0 does both in this one.
        on_frames: called with the number of newly finished frames.
        known: unreadable frames that need not be returned again.

    Raises:
        StorageError: a write is refused; what was stored stays.
    """
    faults: list[str] = []
    encoded = in_order(_EncodedShots(shots, source, side), workers)
    for shot, (images, sizes, wrong) in zip(shots, encoded, strict=True):
        faults += wrong
        if not wrong:
            writer.write_frames(shot.id, ShotFrames(side, tuple(sizes), tuple(images)))
        on_frames(len(shot))
    return tuple(fault for fault in faults if fault not in known)
