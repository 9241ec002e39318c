"""Every exception the library raises on purpose; the command line turns each into one message, exit 1."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN_OFFENDERS = 30


def near_names(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names those of the known names that a wrong one may have been meant for.

    >>> near_names("resnet51", ["resnet50", "vgg16"])
    'Did you mean resnet50? '
    """
    names = get_close_matches(name, list(known), n=5)
    return f"Did you mean {', '.join(names)}? " if names else ""


class TcamCacheError(Exception):
    """Say what was got, what was expected and what to do, listing every offender at once.

    Args:
        message: one or two sentences; the last one says what to do.
        offenders: everything that is wrong, one short text each. The first `SHOWN_OFFENDERS` are shown,
            all of them stay in `.offenders`.

    >>> str(FrameError("1 frame cannot be read. Replace it.", ["bird/0001/001/frame0001.jpg: empty file"]))
    '1 frame cannot be read. Replace it.\\n  bird/0001/001/frame0001.jpg: empty file'
    """

    def __init__(self, message: str, offenders: Iterable[str] = ()) -> None:
        self.offenders = tuple(offenders)
        lines = [message, *(f"  {offender}" for offender in self.offenders[:SHOWN_OFFENDERS])]
        if len(self.offenders) > SHOWN_OFFENDERS:
            lines.append(f"  ... and {len(self.offenders) - SHOWN_OFFENDERS} more")
        self.message = message
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple:
        return type(self), (self.message, self.offenders)


class ConfigError(TcamCacheError):
    """A setting, or a combination of settings, has no meaning."""


class DeviceError(TcamCacheError):
    """The requested device does not exist on this machine."""


class ExtraError(TcamCacheError):
    """A feature needs an optional package that is not installed."""


class ManifestError(TcamCacheError):
    """A data set on disk, or a manifest of one, is missing, empty or contradicts itself."""


class AnnotationError(TcamCacheError):
    """Boxes or splits do not fit the frames they are given for."""


class FrameError(TcamCacheError):
    """Frames cannot be read."""


class WeightsError(TcamCacheError):
    """A weights or classifier file is not a valid one, or does not fit the architecture."""


class MapError(TcamCacheError):
    """A map function of the user's own fails, or gives something else than maps."""


class CacheError(TcamCacheError):
    """A CAM cache is missing, damaged, incomplete, of another format, or made with other settings."""


class RunError(TcamCacheError):
    """A run folder cannot be used: it already holds a run, or none, or another one."""


class EvaluationError(TcamCacheError):
    """A map, or a set of frames, cannot be scored."""


class StorageError(TcamCacheError):
    """The file system refused a write: no permission, no space, read-only."""


class WorkerError(TcamCacheError):
    """A worker process was killed, for example because the system ran out of memory."""
