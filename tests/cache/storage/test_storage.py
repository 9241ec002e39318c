"""Tests of finding the objects of a place."""

from pathlib import Path

from tcam_cache.cache.storage import objects_at
from tcam_cache.cache.storage.folder import FolderObjects
from tcam_cache.cache.storage.remote import RemoteObjects


def test_a_url_is_a_store_elsewhere_and_all_else_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert objects_at("s3://bucket/c/") == RemoteObjects("s3://bucket/c")
    assert objects_at("c") == objects_at(Path("c")) == FolderObjects(tmp_path / "c")
    assert objects_at(f"file://{tmp_path}/c") == FolderObjects(tmp_path / "c")
