"""Detect truncated and damaged video files that decoders and demuxers accept without an error."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tcam_cache.datasets.video_file import Damaged, VideoFile, open_video
from tcam_cache.extras import optional

# Containers whose demuxer skips damaged data and only logs it.
_LOSES_SILENTLY = ("matroska", "flv", "live_flv")
# Containers that state their number of frames, or their duration, even if truncated.
_COUNTED, _ANNOUNCING = ("avi",), ("mov", "matroska", "flv", "live_flv", "asf", "mxf", "avi")
# Tolerated share of the stated duration, at most one second, for rounding and a last frame that is held.
_SLACK, _LEAST_SLACK_MS, _MOST_SLACK_MS = 0.02, 100, 1000
_TS_PACKET, _OTHER_TS_PACKETS, _TS_SYNC, _TS_CHUNK = 188, (192, 204), 0x47, 1 << 16
_LARGEST_OGG_PAGE = 65307


def require_whole(file: VideoFile, times: Sequence[int], logged: Sequence[tuple[str, str]]) -> None:
    """Raise `Damaged` if a file has damaged parts or is shorter than it states.

    Frames hidden by an edit list, and an audio stream longer than the video, are not damage.

    Args:
        file: decoded to its end.
        times: of all its frames, in milliseconds, as from `in_order`.
        logged: the errors that `demuxer_errors` collected meanwhile.
    """
    if not times:
        raise ValueError("no frame in it")
    name, counted = file.container.format.name, file.stream.frames
    if name in _COUNTED and len(times) < (1 - _SLACK) * counted:
        raise Damaged(f"truncated, {len(times)} of {counted} frames")
    if name == "mpegts":
        _require_whole_transport(file.path, file.stream.id)
    if name == "ogg" and not _ends_ogg(file.path):
        raise Damaged("truncated, its last page is not there")
    announced = _announced_ms(file) if name.startswith(_ANNOUNCING) else 0
    slack = max(min(_SLACK * announced, _MOST_SLACK_MS), 2 * max(np.diff(times), default=0), _LEAST_SLACK_MS)
    if times[-1] < announced - slack and _last_ms(file.path) < announced - slack:
        raise Damaged(f"truncated, it ends after {times[-1] / 1000:.2f} of {announced / 1000:.2f} s")
    lost = [text for speaker, text in logged if speaker == name and name.startswith(_LOSES_SILENTLY)]
    if lost:
        raise Damaged(f"damaged inside: {lost[0]}")


@contextmanager
def demuxer_errors() -> Iterator[list[tuple[str, str]]]:
    """Collect (component, message) of errors that FFmpeg logs in this thread, instead of printing them."""
    logging = optional("av", "video").logging
    before, heard = logging.get_level(), []
    logging.set_level(logging.ERROR)
    try:
        with logging.Capture(local=True) as logs:
            yield heard
            heard += ((speaker, text.strip()) for _, speaker, text in logs)
    finally:
        logging.set_level(before)


def _announced_ms(file: VideoFile) -> float:
    if file.stream.duration:
        return 1000 * float(file.stream.duration * file.stream.time_base)
    return (file.container.duration or 0) / 1000


def _last_ms(path: Path) -> float:
    """Return the time of the last packet of any stream."""
    container, _ = open_video(path)
    try:
        known = (packet for packet in container.demux() if packet.pts is not None)
        return max((1000 * float(packet.pts * packet.time_base) for packet in known), default=0.0)
    finally:
        container.close()


def _require_whole_transport(path: Path, stream: int) -> None:
    """Raise `Damaged` if packets of a stream are missing, by their continuity counters."""
    size = path.stat().st_size
    if all(size % packet for packet in (_TS_PACKET, *_OTHER_TS_PACKETS)):
        raise Damaged("truncated, it ends inside a packet")
    if size % _TS_PACKET:
        return
    last = None
    with path.open("rb") as file:
        while data := file.read(_TS_PACKET * _TS_CHUNK):
            packets = np.frombuffer(data, np.uint8).reshape(-1, _TS_PACKET)
            # With a wrong packet size the sync bytes are misplaced from the second packet on.
            if (packets[:2, 0] != _TS_SYNC).any() and last is None:
                return
            if (packets[:, 0] != _TS_SYNC).any():
                raise Damaged("damaged inside: a packet does not begin where it must")
            last = _count_on(packets[:, 1:6].astype(int), stream, last)


def _count_on(heads: np.ndarray, stream: int, last: int | None) -> int | None:
    stream_heads = heads[((heads[:, 0] & 0x1F) << 8 | heads[:, 1]) == stream]
    counts, payload = stream_heads[:, 2] & 15, stream_heads[:, 2] & 0x10 > 0
    # A packet may reset its counter, and may be sent twice.
    anew = (stream_heads[:, 2] & 0x20 > 0) & (stream_heads[:, 3] > 0) & (stream_heads[:, 4] & 0x80 > 0)
    before = np.concatenate([[counts[0] if last is None and len(counts) else last or 0], counts])[:-1]
    steps = (counts - before) % 16
    if (payload & ~anew & (steps > 1)).any():
        raise Damaged("damaged inside: packets are missing")
    return int(counts[-1]) if len(counts) else last


def _ends_ogg(path: Path) -> bool:
    """Return whether the last page of an Ogg file is complete and marked as the end of the stream."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _LARGEST_OGG_PAGE), os.SEEK_END)
        page = file.read().rpartition(b"OggS")[2]
    # After the pattern: version, flags, 20 bytes, the number of segments, their lengths, the segments.
    sizes = page[23 : 23 + page[22]] if len(page) > 22 else b""
    return len(page) >= 23 + len(sizes) + sum(sizes) and bool(page[1] & 4)
