"""``parity separate``: stems of a file, by PyTorch or by a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from harness.cli.console import Json, answer, log, out, print_table, progress
from harness.cli.outputs import check_room, folder_option
from harness.cli.settings import SUBJECT_HELP, Like, Numerics, Settings, TimeLimit
from harness.errors import ParityError, UnknownNameError

FORMATS = {"wav": (".wav", "float32"), "wav16": (".wav", "pcm16"), "flac": (".flac", "pcm24")}


commands = typer.Typer()


@commands.command(
    "separate",
    epilog="Example: parity separate song.mp3 --subject htdemucs_6s@seeded "
    "--package 6s.mlpackage --out stems; add --engine onnx for ONNX Runtime",
)
def separate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="WAV, FLAC, MP3, ...; any rate.")],
    subject: Annotated[str, typer.Option(help=SUBJECT_HELP)],
    target: Annotated[Path, folder_option("Folder for the stems.")],
    package: Annotated[
        list[Path] | None,
        typer.Option(help="Execute this package instead of PyTorch (one for each model of a bag)."),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What executes packages: mil, onnx, or coreml on a Mac.")
    ] = "mil",
    numerics: Numerics = "storage",
    audio_format: Annotated[
        str, typer.Option("--format", help="wav (float32), wav16 or flac (24 bit).")
    ] = "wav",
    like: Like = None,
    settings: Settings = None,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Separate a file into stems, segment by segment; memory does not grow with its length.

    Unless --like says otherwise.
    """
    from harness.audio.files import AudioReader
    from harness.audio.writers import StemWriter
    from harness.subjects import describe_subject
    from harness.subjects.names import with_settings
    from harness.subjects.protocol import sound_of
    from harness.workbench import open_separator
    from harness.workbench.separator import check_way, stems_of_file

    if audio_format not in FORMATS:
        raise UnknownNameError("format", audio_format, FORMATS)
    if engine != "mil" and not package:
        raise ParityError(f"engine {engine!r} executes packages: give one with --package")
    subject = with_settings(subject, settings or ())
    outline = describe_subject(subject)
    geometry = sound_of(outline)
    check_way(like, outline)
    suffix, encoding = FORMATS[audio_format]
    with AudioReader(file, geometry) as reader:
        writer = StemWriter(
            target,
            outline.sources,
            suffix=suffix,
            encoding=encoding,
            frames=reader.frames,
            geometry=geometry,
        )
        samples = len(outline.sources) * geometry.channels * reader.frames
        check_room(target, samples * (2 if audio_format == "wav16" else 4))
        log.print(f"loading {subject if not package else ', '.join(map(str, package))}")
        separator = open_separator(
            subject, packages=package or (), engine=engine, numerics=numerics
        )
        with progress(f"separating {file.name}") as advance, writer:
            for stems in stems_of_file(reader, separator, like, advance):
                writer.write(stems)
        seconds = reader.duration_s
    clipped = {name: count for name, count in writer.clipped_samples.items() if count}
    for name, count in clipped.items():
        said = f" {name}: {count} samples were beyond full scale, clipped"
        log.print(Text("warning:", "yellow") + said)
    stems_written = {name: str(path) for name, path in writer.paths.items()}

    def show() -> None:
        print_table(f"{file.name}: {seconds:.1f} s", ("stem", "file"), list(stems_written.items()))
        out.print(f"{len(stems_written)} stems written")

    document = {"stems": stems_written, "duration_s": seconds, "clipped_samples": clipped}
    answer(json, document, show)
