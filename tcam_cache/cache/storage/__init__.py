"""Storage of a cache, behind one interface: a folder, a URL or an HDF5 file, told apart by the path."""

from pathlib import Path

from tcam_cache.cache.objects import WritableObjects
from tcam_cache.cache.storage.folder import FolderObjects
from tcam_cache.cache.storage.hdf5 import H5File, H5Objects
from tcam_cache.cache.storage.remote import RemoteObjects
from tcam_cache.files import Place, parse_place


def objects_at(place: Place) -> H5Objects | WritableObjects:
    """Return the objects of a folder, of a URL, or in an exported file; nothing is opened yet."""
    where = parse_place(place)
    if isinstance(where, Path) and where.is_file():
        return H5Objects(H5File(where.absolute()))
    return writable_objects_at(where)


def writable_objects_at(place: Place) -> WritableObjects:
    """Return the writable storage of a folder or a URL; nothing is opened yet."""
    where = parse_place(place)
    return RemoteObjects(where) if isinstance(where, str) else FolderObjects(where.absolute())
