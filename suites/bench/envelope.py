"""What one segment of music comes to under each numerics: the envelope of what a device may do.

    python suites/bench/envelope.py --package fp16=A.mlpackage --package mixed=B.mlpackage

The reference is PyTorch's forward of the subject's network. One JSON document on stdout: for each
package and numerics the SNR of all stems together and of the worst stem, in dB (``null`` where the
result is not finite), and the processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

from harness import mil
from harness.audio.stft import spectrogram_from_waveform
from harness.metrics import snr_db
from harness.subjects import extract_inner_model, load_subject, stems_of
from harness.subjects.songs import make_song


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subject", default="mini")
    parser.add_argument("--package", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--numerics", action="append", choices=list(mil.numerics_names()))
    options = parser.parse_args()
    subject = load_subject(options.subject)
    song = make_song(3, 30.0).mixture[None, :, : subject.geometry.segment_length]
    audio = torch.from_numpy(np.ascontiguousarray(song, np.float32))
    inputs = {"spectrogram": spectrogram_from_waveform(audio), "audio": audio}
    with torch.no_grad():
        outputs = extract_inner_model(subject.model).eval()(*inputs.values())
    reference = stems_of(dict(zip(("freq", "time"), (o.numpy() for o in outputs), strict=True)))
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    document: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, path in (package.split("=", 1) for package in options.package):
        model, rows = mil.load(Path(path)), document.setdefault(name, {})
        for numerics in options.numerics or mil.numerics_names():
            started = time.process_time()
            stems = stems_of(model.predict(arrays, numerics=numerics))
            found = [snr_db(reference, stems)]
            found.append(min(snr_db(r, s) for r, s in zip(reference, stems, strict=True)))
            total, worst = (value if math.isfinite(value) else None for value in found)
            seconds = time.process_time() - started
            rows[numerics] = {"snr_db": total, "worst_stem_db": worst, "cpu_s": seconds}
            print(f"{name}, {numerics}: {rows[numerics]}", file=sys.stderr)
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
