"""coremltools' ``MLModel.predict`` on any machine, answered by this room's executor.

Off macOS coremltools converts, saves and reads models, but can't run them: ``predict`` raises, and
its own tests and debugging tools skip what is numerical without a word. While `installed` is active
ML Programs run there, too::

    with bridge.installed() as ledger:
        model = coremltools.convert(...)
        outputs = model.predict({"x": x})
    print(ledger.predictions)

``python -m harness.mil.bridge -m pytest ...`` and ``python -m harness.mil.bridge SCRIPT ...`` run a
module or a script under it. Models that are no ML Programs are refused, as coremltools refuses
what the Core ML framework can't load: with a ``RuntimeWarning``, and an error from ``predict``.
"""

from harness.mil.bridge.patches import installed
from harness.mil.bridge.proxy import Ledger

__all__ = ["Ledger", "installed"]
