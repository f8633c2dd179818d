"""A store that machines share: goldens, packages and results, by any file system of fsspec.

In: a URL (a folder, ``s3://bucket/prefix``, ``gs://...``), files, and for each a kind and a key.
Out: files of the local cache whose bytes are those that were kept. Objects are named by their
SHA-256, written if absent, never changed, and verified whenever they are read, from the cache as
well; a byte that differs is an error that names the object, never a value. Names lead from a kind
and a key to an object, carry a checksum of their own, and the first one stays.

What the network does is expected to fail: every request is repeated for a while, and what was made
is in the cache before it is sent.
"""

from harness.store.collecting import Collected, Holdings, collect, holdings
from harness.store.folders import pack_folder, unpack_folder
from harness.store.objects import KINDS, Store, open_store

__all__ = [
    "KINDS",
    "Collected",
    "Holdings",
    "Store",
    "collect",
    "holdings",
    "open_store",
    "pack_folder",
    "unpack_folder",
]
