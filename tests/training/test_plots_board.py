import sys
import warnings

import pytest

from tcam_cache.errors import ExtraError
from tcam_cache.training import require_board
from tcam_cache.training.plots import open_board, scalars

LINE = {"lr": 0.1, "losses": {"crf": -0.25, "size": 0.5}, "loss": 0.25, "corloc": 60.0, "note": "text"}


def read(folder):
    """Return {name: {epoch: value}} of all events below a folder, as TensorBoard shows them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = module.EventAccumulator(str(folder)).Reload()
        names = events.Tags()["scalars"]
        return {name: {event.step: event.value for event in events.Scalars(name)} for name in names}


def test_a_line_is_its_numbers_by_name():
    assert scalars({"epoch": 3, **LINE}) == {
        "lr": 0.1, "loss": 0.25, "corloc": 60.0, "losses/crf": -0.25, "losses/size": 0.5,
    }  # fmt: skip


def test_without_a_wish_there_is_no_board(tmp_path):
    with open_board(tmp_path, False, 0) as write:
        write({"epoch": 1, **LINE})
    assert not list(tmp_path.iterdir())


def test_what_was_written_is_read_back_and_what_a_kill_left_too_much_is_withdrawn(tmp_path):
    pytest.importorskip("tensorboard")
    with open_board(tmp_path, True, 0) as write:
        for epoch in (1, 2, 3):
            write({"epoch": epoch, **LINE, "loss": float(epoch)})
    # The kill came before epoch 3 was saved: it is trained again.
    with open_board(tmp_path, True, 2) as write:
        write({"epoch": 3, **LINE, "loss": 30.0})
    board = read(tmp_path / "tensorboard")
    assert board["loss"] == {1: 1.0, 2: 2.0, 3: 30.0}
    assert board["losses/crf"] == {1: -0.25, 2: -0.25, 3: -0.25}


def test_where_it_is_not_installed_the_extra_is_named(tmp_path, monkeypatch):
    for module in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    require_board(False)
    for ask in (lambda: require_board(True), lambda: open_board(tmp_path, True, 0).__enter__()):
        with pytest.raises(ExtraError, match=r'pip install "tcam-cache\[tensorboard\]"'):
            ask()
