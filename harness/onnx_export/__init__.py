"""Programs of Core ML as ONNX models, so that a second runtime executes what the package says.

``export_model(mil.load(path))`` writes a program operation by operation, with the roundings that
it declares as casts; ``save_onnx`` puts it on disk. One decorated function in `rules` writes each
operation type. What a program is comes from `harness.mil`; nothing else of the project is known.
"""

from harness.onnx_export.program import Exported, export_model
from harness.onnx_export.registry import exported_types
from harness.onnx_export.serialize import MADE, OPSET, save_onnx, to_bytes

__all__ = ["MADE", "OPSET", "Exported", "export_model", "exported_types", "save_onnx", "to_bytes"]
