"""`darl export`: from a run to files of other programs, and what is refused."""

import logging
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from moto.server import ThreadedMotoServer
from pyarrow import fs

import darl
from darl.cli import main
from darl.data import DataContent
from darl.errors import UserError
from darl.experiment import Experiment
from darl.export.base import read_source
from darl.export.card import card
from darl.export.huggingface import HuggingFace
from darl.model.encoder_config import size_of
from darl.model.hub_encoder import HubEncoder
from darl.model.objectives.mae import Mae
from darl.model.objectives.supervised import Supervised
from darl.results.tables import Results
from darl.training.checkpoint import MODEL_FILE, TRAINER_FILE, load_pretrained, path_of
from darl.training.initialization import read_initialization
from tests.export.example_runs import SIZE, images, saved_run, tuned_run
from tests.results.example_tables import row

ADDRESS = "/private/flowers"
"""A data path that tells of its owner: only its last name may be exported."""

CONTENT = DataContent(train=8, validation=2, classes=3, fingerprint="0")


def export(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "export", *map(str, arguments)])
    main()


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on standard error of a command that ends with 2."""
    with pytest.raises(SystemExit) as ended:
        export(monkeypatch, *arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trial's folder of checkpoints beside its row in the tables, on data of one's own."""
    trial = Experiment(model=SIZE, data=ADDRESS).trial_id
    results = Results(str(tmp_path / "results"), "pretrain")
    results.prepare()
    yardsticks = {"pixels_probe_top1": 0.9, "init_probe_top1": 0.6, "probe_readout": "block 2, tokens"}
    results.add_trial(row(trial, 0, status="failed", probe_top1=0.1))
    results.add_trial(row(trial, 1, probe_top1=0.8125, **yardsticks))
    results.add_trial(row("other", 1, probe_top1=0.3))
    return saved_run(tmp_path / "results" / "pretrain" / "checkpoints" / trial, data=ADDRESS)


@pytest.mark.parametrize("target", ["huggingface", "timm:license=mit"])
def test_the_card_has_metrics_beside_yardsticks_licence_record_and_loading(
    run: Path, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [] if "mit" in target else ["--license", "cc-by-nc-4.0"]
    export(monkeypatch, path_of(run, 3), "--to", target, "--output", tmp_path / "out", *flags)
    printed = capsys.readouterr().out
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == ("mit" if "mit" in target else "cc-by-nc-4.0")
    assert (card.data.library_name, card.data.pipeline_tag) == (target.split(":")[0].replace("huggingface", "darl"),
                                                                "image-feature-extraction")  # fmt: skip
    (result,) = [one for one in card.data.eval_results or [] if one.metric_name == "linear probe, top-1"]
    assert (result.metric_value, result.dataset_name) == (0.8125, "flowers")
    assert "| linear probe | 81.2 % | 90.0 % | 60.0 % | block 2, tokens |" in card.text
    assert '"kind": "diffusion"' in card.text
    assert [*_lines(printed, str(tmp_path / "out"))] == [*_lines(card.text.partition("```python\n")[2], "FOLDER")][:6]
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"flowers" in written
    assert b"private" not in written


def _lines(text: str, folder: str) -> Iterator[str]:
    code = (line for line in text.splitlines() if " = " in line or line.startswith(("import", "from")))
    return (line.replace(folder, "") for line in code)


def test_without_tables_the_card_says_how_metrics_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(monkeypatch, saved_run(tmp_path / "run"), "--to", "huggingface", "--output", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "`darl evaluate` measures them" in card.text
    assert (card.data.license, card.data.eval_results) == ("unknown", None)


@pytest.mark.parametrize(
    ("changes", "said", "tags"),
    [
        ({}, "pretrained by **DARL**", ["self-supervised", "diffusion"]),
        ({"objective": Mae(), "noise": None, "causal": False},
         "pretrained without labels by the objective `mae` (the masked autoencoder).", ["self-supervised", "mae"]),
        ({"objective": Supervised(), "noise": None, "causal": False, "content": CONTENT},
         "trained with labels by the objective `supervised` (classification of the training labels).",
         ["supervised"]),
        ({"tuned": True}, "without labels, and then fine-tuned with labels; its classifier", ["fine-tuned"]),
        ({"tuned": True, "init": None}, "trained with labels from random weights", ["supervised"]),
    ],
    ids=["darl", "mae", "supervised", "fine-tuned", "scratch"],
)  # fmt: skip
def test_the_card_says_how_the_weights_were_made(
    changes: dict[str, Any], said: str, tags: list[str], tmp_path: Path
) -> None:
    make = tuned_run if changes.pop("tuned", False) else saved_run
    text = card(HuggingFace(), read_source(str(make(tmp_path, **changes)), lambda *_: {"finetune_top1": 0.5}))
    assert said in text.replace("\n", " ")
    assert ModelCard(text).data.tags == ["darl", "vision-transformer", *tags]
    assert ("by **DARL**" in text) == ("diffusion" in tags or tags == ["fine-tuned"])


def test_fine_tuned_accuracies_are_not_those_of_frozen_features(tmp_path: Path) -> None:
    values = {"probe_top1": 0.5, "finetune_top1": 0.75, "init_finetune_top1": 0.625}
    text = card(HuggingFace(), read_source(str(saved_run(tmp_path)), lambda *_: values))
    frozen, tuned = text.partition("## Metrics")[2].partition("after fine-tuning")[::2]
    assert "| linear probe | 50.0 % | - | - | - |" in frozen
    assert "| fine-tuning | 75.0 % | 62.5 % |" in tuned
    results = ModelCard(text).data.eval_results or []
    assert {each.metric_name for each in results} == {"linear probe, top-1", "fine-tuning, top-1"}
    assert {each.task_name for each in results} == {"image classification"}


def test_a_table_that_cannot_be_read_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run.parents[1] / "trials" / "torn.parquet").write_bytes(b"PAR1")
    said = refused(monkeypatch, capsys, run, "--to", "huggingface", "--output", tmp_path / "out")
    assert "torn.parquet" in said
    assert not (tmp_path / "out").exists()


def test_a_push_uploads_the_folder_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = create_autospec(huggingface_hub.HfApi, instance=True)
    hub.create_repo.return_value.repo_id = "me/flowers"
    hub.upload_folder.side_effect = lambda *, repo_id, folder_path, commit_message: shutil.copytree(
        folder_path, tmp_path / "hub" / repo_id
    )
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: hub)
    run, output = saved_run(tmp_path / "run"), tmp_path / "out"
    export(monkeypatch, run, "--to", "huggingface", "--output", output, "--push", "me/flowers")
    hub.create_repo.assert_called_once_with("me/flowers", exist_ok=True)
    assert str(tmp_path / "hub" / "me/flowers") in capsys.readouterr().out
    encoder = HubEncoder.from_pretrained(tmp_path / "hub" / "me/flowers")
    torch.testing.assert_close(encoder(images()), darl.load(run)(images()), rtol=0, atol=0)
    assert timm.data.resolve_data_config(model=encoder)["mean"] == (0.25,)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--to", "tensorflow"], "--to must be one of "),
        (["--to", "onnx", "--license", "mit"], "--license must be left out for --to onnx, got 'mit'"),
        (["--to", "safetensors", "--push", "me/it"], "--push must be left out for --to safetensors"),
        (["--to", "timm", "--push", "it"], "--push must be a name on the Hugging Face Hub, OWNER/NAME, got 'it'"),
        (["--to", "timm", "--push", "a/b/c"], "--push must be a name on the Hugging Face Hub, OWNER/NAME"),
        (["--to", "timm", "--license", "My Own"], "--license must be written as on the Hub"),
        (["--to", "timm", "--output", "absent/out"], "--output must be a new folder, in one that exists"),
        (["--to", "timm", "--output", "s3://b/x", "--push", "me/it"], "--output must be a folder of this machine"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_leave_nothing(
    flags: list[str], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = saved_run(tmp_path / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert error in refused(monkeypatch, capsys, run, "--output", "out", *flags)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_push_that_fails_is_one_line_and_the_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_, **__: 1 / 0)
    run, output = saved_run(tmp_path / "run"), tmp_path / "out"
    said = refused(monkeypatch, capsys, run, "--to", "timm", "--output", output, "--push", "me/it")
    assert "--push must be a repository that can be written (hf auth login, or HF_TOKEN), got 'me/it' (division" in said
    assert (output / "config.json").is_file()


def test_the_weights_alone_are_loaded_by_darl_timm_and_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(model=size_of("nano", patch_size=2))
    run = saved_run(tmp_path / "run", model=experiment.model)
    export(monkeypatch, run, "--to", "safetensors", "--output", tmp_path / "out")
    file, expected = tmp_path / "out" / MODEL_FILE, darl.load(run)(images())
    torch.testing.assert_close(darl.load(file)(images()), expected, rtol=0, atol=0)
    encoder = timm.create_model("darl_nano_patch16_224", num_classes=0, checkpoint_path=str(file)).eval()
    torch.testing.assert_close(encoder(images()), expected, rtol=0, atol=0)
    tuned = timm.create_model("darl_nano_patch16_224", num_classes=3, checkpoint_path=str(file)).eval()
    torch.testing.assert_close(tuned.forward_head(tuned.forward_features(images()), pre_logits=True), expected)
    assert tuned(images()).shape == (5, 3)
    start = read_initialization(str(file), experiment)
    assert not start.unexpected
    assert {name.partition(".")[0] for name in start.missing} == {"decoder"}
    with pytest.raises(UserError, match=r"^checkpoint must hold the decoder too \(darl.load takes an encoder alone\)"):
        load_pretrained(file)


def test_an_export_to_a_bucket_is_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        query = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
        files, _ = fs.FileSystem.from_uri(f"s3://key:secret@bucket?{query}&allow_bucket_creation=true")
        files.create_dir("bucket")
        run, address = saved_run(tmp_path / "run"), f"s3://key:secret@bucket/out?{query}"
        export(monkeypatch, run, "--to", "safetensors", "--output", address)
        file = f"s3://key:secret@bucket/out/{MODEL_FILE}?{query}"
        torch.testing.assert_close(darl.load(file)(images()), darl.load(run)(images()), rtol=0, atol=0)
        assert 'darl.load("FOLDER/model.safetensors")' in capsys.readouterr().out
        assert "--output must be a folder that is new or empty" in refused(
            monkeypatch, capsys, run, "--to", "safetensors", "--output", address
        )
    finally:
        server.stop()


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_a_pickle_in_a_checkpoint_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, sprung = saved_run(tmp_path / "run"), tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()
    sprung.unlink()
    step = path_of(run, 3)
    torch.save({"optimizer": Trap(sprung)}, step / TRAINER_FILE)
    export(monkeypatch, run, "--to", "huggingface", "--output", tmp_path / "out")
    for name in (MODEL_FILE, "weights.pt", "weights.pth"):
        torch.save({"encoder.start_token": Trap(sprung)}, step / name)
        said = refused(monkeypatch, capsys, step / name, "--to", "huggingface", "--output", tmp_path / "other")
        assert "checkpoint must be a whole safetensors file" in said
        with pytest.raises(UserError, match=r"^init must be a whole file of weights"):
            read_initialization(str(step / name), Experiment(model=SIZE))
    (tmp_path / "out" / MODEL_FILE).unlink()
    torch.save({"start_token": Trap(sprung)}, tmp_path / "out" / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError):
        HubEncoder.from_pretrained(tmp_path / "out")
    assert not sprung.exists()
