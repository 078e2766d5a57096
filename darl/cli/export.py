"""`darl export`: a pretrained encoder in the files of other programs."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from darl.cli.parser import CHECKPOINT_HELP
from darl.errors import UserError
from darl.export.base import Export
from darl.variants import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `darl export`."""
    kinds = Export.kinds()
    lines = [f"  {kind:<12} {(target.__doc__ or '').splitlines()[0]}" for kind, target in kinds.items()]
    parser.epilog = "\n".join(
        [
            "What --to may be:",
            *lines,
            "",
            "Before the folder appears, the files are read by the program that they are for, and must give the",
            "encoder's features to 1e-5; onnx is not checked where onnxruntime is not installed. Of a fine-tuned",
            "run the encoder is written, without its classifier. Nothing is unpickled.",
        ]
    )
    parser.add_argument("checkpoint", help=CHECKPOINT_HELP)
    parser.add_argument("--to", required=True, metavar="TARGET", help=", ".join(kinds))
    parser.add_argument("--output", required=True, metavar="FOLDER", help="a new folder; also at s3:// or gs://")
    for name, text in _options().items():
        parser.add_argument(f"--{name}", help=text)
    pushed = " and ".join(kind for kind, target in kinds.items() if target.for_hub)
    parser.add_argument("--push", metavar="OWNER/NAME", help=f"also upload it to the Hugging Face Hub ({pushed})")


def run(flags: argparse.Namespace) -> None:
    """Write the folder, and print how it is loaded."""
    export = _target(flags)
    if flags.push:
        _require_pushable(export, flags)
    from darl.export.base import read_source, write_export
    from darl.storage.address import is_remote

    source = read_source(flags.checkpoint, _metrics)
    difference = write_export(export, source, flags.output)
    how = "not checked, since the program that reads it is not installed"
    if difference is not None:
        how = f"read again, its features differ by {difference:.1g} of the largest"
    print(f"{flags.output}: {export.kind}; {how}\n")
    copied = is_remote(flags.output)
    print(export.loading(source, "FOLDER" if copied else flags.output.rstrip("/")))
    if copied:
        print("# FOLDER: a copy of it on this machine")
    if flags.push:
        from darl.export.upload import upload

        print(f"\n{upload(Path(flags.output), flags.push)}")


def _require_pushable(export: Export, flags: argparse.Namespace) -> None:
    from darl.export.upload import require_repository
    from darl.storage.address import is_remote

    require(export.for_hub, "push", f"be left out for --to {export.kind}, whose files are not for the Hub", flags.push)
    local = not is_remote(flags.output)
    require(local, "output", "be a folder of this machine where --push is given", flags.output)
    require_repository(flags.push)


def _options() -> dict[str, str]:
    """Help of the targets' own options, by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for kind, target in Export.kinds().items():
        for field in dataclasses.fields(target):
            text = f"{field.metadata['help']}; default: {field.default}"
            found.setdefault(field.name, (text, []))[1].append(kind)
    return {name: f"{text} ({' and '.join(kinds)})" for name, (text, kinds) in found.items()}


def _target(flags: argparse.Namespace) -> Export:
    """The target of `--to`, with the options whose flags are given. Raises UserError."""
    export = Export.parse(flags.to)
    given = {name: getattr(flags, name) for name in _options() if getattr(flags, name) is not None}
    own = {field.name for field in dataclasses.fields(export)}
    for name, value in given.items():
        if name not in own:
            raise UserError(f"must be left out for --to {export.kind}, got {value!r}", field=name)
    return Export.from_record({**export.to_record(), **given})


def _metrics(run: str, trial_id: str) -> dict[str, Any]:
    """The newest finished row of a trial, from the tables beside its folder of checkpoints; empty without one."""
    from darl.results.tables import load
    from darl.storage.address import below, parent_and_name
    from darl.storage.folder import ResultsFolder
    from darl.training.checkpoint_store import CHECKPOINTS

    folder, name = parent_and_name(run)
    for _ in range(3):  # RESULTS/SWEEP/checkpoints/TRIAL_ID/step-…/model.safetensors
        folder, name = (folder, name) if name == CHECKPOINTS else parent_and_name(folder)
    if name != CHECKPOINTS:
        return {}
    if not ResultsFolder(below(folder, "trials"), "results").is_folder():  # the checkpoints alone were copied here
        return {}
    trials = load(below(folder, "trials"))
    own = trials[(trials["trial_id"] == trial_id) & (trials["status"] == "finished")] if len(trials) else trials
    return {} if own.empty else own.iloc[-1].dropna().to_dict()
