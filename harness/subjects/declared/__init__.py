"""Networks that a ``parity.toml`` declares: any PyTorch module, without a line of Python for us.

In: a file that names a factory, the inputs that it takes and what they are like, and where they
are needed its taps, states, stems, gates, recipes and cases (docs/networks.md). Out: a
`DeclaredNetwork`, which is a `harness.subjects.protocol.Network` like any other.

Reading a declaration imports nothing: the factory is called when somebody asks for its model, or
for shapes that only the model knows. What it computes there is the user's own code.
"""

from harness.subjects.declared.declaration import Declaration, read_declaration
from harness.subjects.declared.network import DeclaredNetwork

__all__ = ["Declaration", "DeclaredNetwork", "read_declaration"]
