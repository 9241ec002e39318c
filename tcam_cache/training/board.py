"""The log of a fit on a TensorBoard, beside `log.jsonl`, for whoever watches there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcam_cache.extras import optional

BOARD_NAME = "tensorboard"
EXTRA = "tensorboard"


def require_board(wanted: bool) -> None:
    """Make sure that TensorBoard can be written to where that is wanted.

    Raises:
        ExtraError: it is not installed.
    """
    if wanted:
        optional("tensorboard", EXTRA)


@contextmanager
def open_board(run: Path, wanted: bool, epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open the board of a run where one is wanted; what follows its finished epochs is withdrawn.

    Args:
        run: the run folder; the board's events go into its folder `tensorboard`.
        wanted: otherwise lines go nowhere.
        epochs: finished so far.

    Yields:
        A function that takes a line of the log.

    Raises:
        ExtraError: TensorBoard is not installed.
    """
    if not wanted:
        yield lambda line: None
        return
    module = optional("torch.utils.tensorboard", EXTRA)
    with module.SummaryWriter(str(run / BOARD_NAME), purge_step=epochs + 1) as writer:

        def write(line: Mapping[str, Any]) -> None:
            """Write one line of the log."""
            for name, value in scalars(line).items():
                writer.add_scalar(name, value, line["epoch"])
            writer.flush()

        yield write


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of the log by name, nested ones below their group.

    >>> scalars({"epoch": 1, "lr": 0.1, "losses": {"crf": -0.2}})
    {'lr': 0.1, 'losses/crf': -0.2}
    """
    flat = {name: value for name, value in line.items() if isinstance(value, int | float) and name != "epoch"}
    return flat | {f"losses/{name}": value for name, value in line["losses"].items()}
