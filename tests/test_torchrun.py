import pytest

from tcam_cache.errors import ConfigError
from tcam_cache.torchrun import process_count, require_alone


@pytest.mark.parametrize(("given", "count"), [({}, 1), ({"TORCHELASTIC_RUN_ID": "none"}, 2)])
def test_only_torchrun_counts_its_processes(monkeypatch, given, count):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in {"WORLD_SIZE": "2", **given}.items():  # others set WORLD_SIZE, too
        monkeypatch.setenv(name, value)
    assert process_count() == count


def test_what_is_for_one_process_refuses_two(monkeypatch):
    require_alone("search")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes, but search is for one"):
        require_alone("search")
