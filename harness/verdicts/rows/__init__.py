"""The rows of a run: what it keeps beside its checks, so that a report can draw it.

Each kind of row is one frozen dataclass. From it come what is written, what is read, what a reader
refuses, and the published schema; a field of `Artefacts` gives it its place in the document. Who
makes a row makes an object of its class, and who draws it is given that object.
"""
