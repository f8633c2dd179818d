"""Files, folders and sets of files that appear whole or not at all.

A writer works under a hidden name beside the target, and the last step is one rename. So a reader
or a second writer, after Ctrl-C, a kill or a full disk, too, never meets half a file, half a folder
or the files of two runs, and what was there stays until its successor is complete.

- `atomic_file`, `write_text`: one file.
- `atomic_folder`: a folder that belongs to its writer alone, of a kind that `products` lists.
- `atomic_set`: several files of a folder that may hold other things, too.

What a kill leaves behind has a name ``.TARGET.XXXXXXXX.part`` and is removed by the next writer of
the same target, but only if nobody holds its lock: a writer that lives is never disturbed.
"""

from harness.atomic.files import atomic_file, write_text
from harness.atomic.folders import atomic_folder
from harness.atomic.sets import atomic_set, recover_set, write_texts

__all__ = ["atomic_file", "atomic_folder", "atomic_set", "recover_set", "write_text", "write_texts"]
