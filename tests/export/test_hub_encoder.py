"""Folders of `huggingface_hub`'s mixin: every reading comes back, a classifier is new, missing weights are an error."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darl.export.base import write_export
from darl.export.huggingface import HuggingFace
from darl.model.hub_encoder import HubEncoder
from tests.export.example_runs import READINGS, images, saved_run, source_of


@pytest.mark.parametrize("reading", READINGS)
def test_every_reading_comes_back(reading: str, tmp_path: Path) -> None:
    source = source_of(saved_run(tmp_path / "run", **READINGS[reading]))
    assert write_export(HuggingFace(), source, str(tmp_path / "out")) == 0
    again = HubEncoder.from_pretrained(tmp_path / "out", img_size=12)
    larger = torch.randn(2, 1, 12, 12)
    torch.testing.assert_close(again(larger), source.encoder(larger))


def test_a_tuned_encoder_is_saved_and_read_again(tmp_path: Path) -> None:
    source = source_of(saved_run(tmp_path / "run", position="learned"))
    write_export(HuggingFace(), source, str(tmp_path / "out"))
    tuned = HubEncoder.from_pretrained(tmp_path / "out", num_classes=3)
    vector = tuned.forward_head(tuned.forward_features(images()), pre_logits=True)
    torch.testing.assert_close(vector, source.encoder(images()))
    torch.nn.init.normal_(tuned.head.weight)
    tuned.save_pretrained(tmp_path / "tuned")
    again = HubEncoder.from_pretrained(tmp_path / "tuned")
    torch.testing.assert_close(again(images()), tuned(images()), rtol=0, atol=0)
    assert again(images()).shape == (5, 3)


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    write_export(HuggingFace(), source_of(saved_run(tmp_path / "run")), str(tmp_path / "out"))
    file = tmp_path / "out" / "model.safetensors"
    weights = load_file(file)
    del weights["blocks.1.mlp.fc1.weight"]
    save_file(weights, file)
    with pytest.raises(RuntimeError, match=r"blocks\.1\.mlp\.fc1\.weight"):
        HubEncoder.from_pretrained(tmp_path / "out")
