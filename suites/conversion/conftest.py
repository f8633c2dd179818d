from __future__ import annotations

from harness.engines import availability

# Beside the default engines, and asked wherever it is: nothing is missing where it is not.
collect_ignore = [] if availability("onnx").available else ["test_second_opinion.py"]
