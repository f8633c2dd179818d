"""If this fails, a sweep or a mutation campaign that was killed leaves processes behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARENT = """
import os, time
from harness.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) != parent.pid
        parent.kill()
        # Whoever lives holds the other end of the pipe: without an end this would time out.
        parent.communicate(timeout=60)
