"""From a place to the objects there."""

from tcam_cache.cache.folder_objects import FolderObjects
from tcam_cache.cache.objects import Objects
from tcam_cache.cache.remote_objects import RemoteObjects
from tcam_cache.place import Place, place


def objects_at(given: Place) -> Objects:
    """Return the objects of a folder or of a URL; nothing is opened yet."""
    where = place(given)
    return RemoteObjects(where) if isinstance(where, str) else FolderObjects(where.absolute())
