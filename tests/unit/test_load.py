"""Reading and writing model files, with a network small enough to have real weights."""

import os
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maskwright.config import PRESETS, HieraConfig, ModelConfig
from maskwright.errors import CheckpointError, InputError, OutputError
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.weights import load
from maskwright.weights.keymaps import from_ours, is_memory
from maskwright.weights.load import build, convert, load_checkpoint, save_checkpoint

SMALL = ModelConfig(
    name="small",
    trunk=HieraConfig(width=16, heads=1, depths=(1, 1, 2, 1), global_blocks=(3,), windows=(4, 2, 4, 2)),
    image_size=64,
    width=32,
    decoder_mlp=32,
    mask_channels=8,
    memory_width=16,
    memory_layers=1,
    memory_mlp=32,
)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(3)
    return {name: torch.randn_like(value) for name, value in SAM2(SMALL).state_dict().items()}


@pytest.fixture
def official(state):
    return from_ours(state, "official")


def write(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refused(match, path, config=SMALL):
    """The file is refused, in one line that names it."""
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, config=config)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# reading


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state},
        lambda state: state,
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.model.{name}": value for name, value in state.items()},
        lambda state: {"model": state, "optimizer": {"param_groups": [{"lr": 0.1}]}, "epoch": 3},
    ],
    ids=["official", "bare", "lightning", "compiled", "training"],
)
def test_reads_official_files_however_wrapped(wrap, official, state, tmp_path):
    checkpoint = load_checkpoint(write(tmp_path / "x.pt", wrap(official)), config=SMALL)
    assert same(checkpoint.state, state)
    assert (checkpoint.kind, checkpoint.image_only, checkpoint.config) == ("official", False, SMALL)


def test_reads_the_old_torch_format(official, state, tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"model": official}, path, _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(path, config=SMALL).state, state)


def test_reads_transformers_files(state, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(
        {name: value.clone() for name, value in from_ours(state, "transformers").items()},
        path,
        {"format": "pt"},
    )
    checkpoint = load_checkpoint(path, config=SMALL)
    assert same(checkpoint.state, state)
    assert checkpoint.kind == "transformers"


def test_transformers_image_models_have_no_memory_half(state, tmp_path):
    image = {name: value for name, value in state.items() if not is_memory(name)}
    path = tmp_path / "model.safetensors"
    save_file({name: value.clone() for name, value in from_ours(image, "transformers").items()}, path)
    checkpoint = load_checkpoint(path, config=SMALL)
    assert checkpoint.image_only
    assert same(checkpoint.state, image)
    one, two = (build(SMALL, checkpoint.state).state_dict() for _ in range(2))
    assert same(one, two)
    assert all(torch.equal(one[name], image[name]) for name in image)
    assert one["memory_encoder.out.weight"].abs().sum() > 0


def test_the_configuration_comes_from_the_shapes(tmp_path):
    with torch.device("meta"):
        meta = SAM2(PRESETS["sam2-tiny"]).state_dict()
    stretched = {name: torch.zeros(()).expand(value.shape) for name, value in meta.items()}
    path = write(tmp_path / "anything.pt", {"model": from_ours(stretched, "official")})
    assert path.stat().st_size < 1_000_000
    assert load_checkpoint(path).config == PRESETS["sam2-tiny"]


def test_half_precision_becomes_float32(state, tmp_path):
    half = {name: value.half() for name, value in from_ours(state, "official").items()}
    loaded = load_checkpoint(write(tmp_path / "half.pt", half), config=SMALL).state
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], value.half().float()) for name, value in state.items())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_float32_tensors_stay_mapped_to_the_file(state, tmp_path, suffix, monkeypatch):
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        write(path, {"model": from_ours(state, "official")})
    else:
        save_checkpoint(path, SMALL, state)
    loaded = load_checkpoint(path, config=SMALL).state
    network = build(SMALL, loaded)
    assert all(value.data_ptr() == loaded[name].data_ptr() for name, value in network.state_dict().items())
    if Path("/proc/self/maps").exists():
        assert str(path) in Path("/proc/self/maps").read_text()


# building


def test_the_network_is_whole_and_runs(state):
    network = build(SMALL, state)
    assert not network.training
    assert not any(value.is_meta for value in (*network.parameters(), *network.buffers()))
    with torch.inference_mode():
        features = network.without_memory(network.encode_image(torch.zeros(1, 3, 64, 64)))
        decoded = network.decode(
            features, PromptTensors(torch.full((1, 1, 1, 2), 9.0), torch.ones(1, 1, 1).long())
        )
    assert decoded.logits_BPMHW.shape == (1, 1, 4, 16, 16)
    assert decoded.logits_BPMHW.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_of_a_network_stands_outside_its_state(name):
    with torch.device("meta"):
        network = SAM2(PRESETS[name])
    tensors = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    assert tensors == set(network.state_dict())


def test_another_input_size_takes_the_same_weights(state):
    assert build(SMALL.at(128), state).config.image_size == 128


def test_building_what_does_not_fit(state):
    with pytest.raises(CheckpointError, match="do not fit small: .*size mismatch"):
        build(SMALL, {**state, "no_memory": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="trunk.position"):
        build(SMALL, {name: value for name, value in state.items() if name != "trunk.position"})


def test_building_leaves_the_random_numbers_alone(state):
    image = {name: value for name, value in state.items() if not is_memory(name)}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(SMALL, image)
    assert torch.equal(torch.rand(3), expected)


# files that are complete but wrong


def test_missing_unexpected_and_misshapen_keys_are_named_as_in_the_file(official, tmp_path):
    for i in range(4):
        del official[f"image_encoder.neck.convs.{i}.conv.bias"]
    official["sam_mask_decoder.iou_token.weight"] = torch.zeros(1, 31)
    official["surplus.weight"] = torch.zeros(1)
    message = refused("official SAM 2 checkpoint, but does not fit small", write(tmp_path / "x.pt", official))
    assert "4 missing (image_encoder.neck.convs." in message
    assert "conv.bias, ...)" in message
    assert "1 unexpected (surplus.weight)" in message
    assert "1 of another shape (sam_mask_decoder.iou_token.weight (1, 31) instead of (1, 32))" in message


def test_a_training_run_is_called_one(official, tmp_path):
    del official["no_mem_embed"]
    path = write(tmp_path / "x.pt", {"model": official, "optimizer": {}})
    refused(r"from a training run, but .* 1 missing \(no_mem_embed\)", path)


def test_the_wrong_size_of_model(official, tmp_path):
    message = refused("does not fit sam2.1-tiny", write(tmp_path / "x.pt", official), PRESETS["sam2.1-tiny"])
    assert "of another shape" in message


def test_a_small_network_needs_its_configuration(official, tmp_path):
    path = write(tmp_path / "x.pt", official)
    refused(r"seems to be an official SAM 2 checkpoint, but its trunk of width 16", path, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_numbers(official, tmp_path, value):
    official["no_mem_embed"] = torch.full_like(official["no_mem_embed"], value)
    refused(r"NaN or infinite weights in 1 tensors \(no_memory\)", write(tmp_path / "x.pt", official))


def test_quantised_weights(official, tmp_path):
    official["no_mem_embed"] = official["no_mem_embed"].to(torch.int8)
    refused("quantised", write(tmp_path / "x.pt", official))


def test_entries_that_are_no_tensors(official, tmp_path):
    refused(r"1 unexpected \(note\)", write(tmp_path / "x.pt", {**official, "note": "hello"}))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["image_encoder.patch_embed.proj.weight", "mask_decoder.iou_token.weight"], "SAM 1"),
        (
            ["vision_encoder.layers.0.attn.qkv.weight", "mask_decoder.iou_token.weight"],
            "SAM 1 in the transformers",
        ),
        (["image_encoder.layers.0.blocks.0.conv.weight"], "MobileSAM"),
        (["sam_mask_decoder.hf_token.weight", "image_encoder.trunk.pos_embed"], "HQ-SAM"),
        (["image_encoder.trunk.body.stem.conv1.c.weight", "sam_mask_decoder.iou_token.weight"], "EdgeTAM"),
        (["detector.backbone.x", "tracker.y"], "SAM 3"),
        (["model.0.conv.weight", "model.22.dfl.conv.weight"], "a YOLO model"),
    ],
)
def test_other_networks_are_recognised(names, what, tmp_path):
    path = write(tmp_path / "x.pt", {"model": {name: torch.zeros(1) for name in names}})
    refused(f"no SAM 2 model but seems to be {what}", path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, r"no SAM 2 model: it holds 2 entries \(a, b\)"),
        ({}, "holds 0 entries"),
        ([torch.zeros(1)], "holds a list, not named weights"),
        (torch.zeros(2), "holds a Tensor, not named weights"),
        ({3: torch.zeros(1)}, "holds a dict, not named weights"),
    ],
)
def test_other_content(content, match, tmp_path):
    refused(match, write(tmp_path / "x.pt", content))


# files that run code


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_code_is_refused_and_never_run(official, tmp_path):
    path = write(tmp_path / "x.pt", {"model": official, "extra": Malicious(tmp_path / "pwned")})
    refused("holds pickled Python objects .*could run code and is refused", path)
    assert not (tmp_path / "pwned").exists()


def test_ultralytics_models_are_named(tmp_path, monkeypatch):
    module = types.ModuleType("ultralytics.nn.tasks")
    module.SegmentationModel = type("SegmentationModel", (), {"__module__": module.__name__})
    for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
        monkeypatch.setitem(sys.modules, name, module)
    path = write(tmp_path / "yolo.pt", {"model": module.SegmentationModel()})
    refused("is an ultralytics model .*refused", path)


# files that are damaged or no model files


@pytest.mark.parametrize("keep", [100, 5000, -100])
def test_cut_off_torch_files(official, tmp_path, keep):
    path = write(tmp_path / "x.pt", official)
    path.write_bytes(path.read_bytes()[:keep])
    refused("is cut off .*download or copy it again", path)


@pytest.mark.parametrize("keep", [7, 200, -100])
def test_cut_off_safetensors_files(state, tmp_path, keep):
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, state)
    path.write_bytes(path.read_bytes()[:keep])
    refused("cut off" if keep != 7 else "something unknown", path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b'{"error": "Not Found"}', "JSON text"),
        ("größer\n".encode(), "a text file"),
        (bytes(range(129, 256)), "something unknown"),
        (b"\x00" * 300, "something unknown"),
        (b"\x1f\x8b\x08" + b"\0" * 20, "a gzip archive"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x80\x04\x95\x10\0\0\0", "a Python pickle"),
        (b"\x80\x02}q\x00.", "damaged or no torch file"),
        (struct.pack("<Q", 9) + b"{notjson}", "damaged safetensors"),
        (struct.pack("<Q", 10) + b'{"a":[1]} ' + b"\0" * 8, "damaged safetensors"),
    ],
)
def test_what_is_no_model_file(content, match, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    refused(match, path)


def test_no_file_and_folders(tmp_path):
    refused("there is no file", tmp_path / "nowhere.pt")
    refused("is a folder, not a model file", tmp_path)
    (tmp_path / "model.safetensors").touch()
    refused(r"did you mean .*model\.safetensors\?", tmp_path)


def test_archives(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    refused("a NumPy archive", tmp_path / "x.npz")
    for name, entries, match in (
        ("zip", ["a.txt"], "a zip archive"),
        ("ts", ["m/data.pkl", "m/code/a.py"], "TorchScript"),
    ):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for entry in entries:
                archive.writestr(entry, "x")
        refused(match, path)


# writing


def test_our_files_carry_their_configuration(state, tmp_path):
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, state, notes={"licence": "Apache-2.0"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == SMALL
    assert checkpoint.kind == "maskwright"
    assert same(checkpoint.state, state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


def test_metadata_must_agree_with_the_shapes(state, tmp_path):
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, {**state, "no_memory": torch.zeros(1, 1, 8)})
    refused(r"a maskwright checkpoint, but .* of another shape \(no_memory \(1, 1, 8\)", path, None)


def test_a_file_of_a_newer_format(state, tmp_path, monkeypatch):
    monkeypatch.setattr(load.metadata, "FORMAT", "9")
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, state)
    monkeypatch.undo()
    refused("its format is '9'.*update maskwright", path, None)


def test_half_precision_storage_spares_what_it_cannot_hold(state, tmp_path):
    big = {**state, "no_memory": torch.full_like(state["no_memory"], 1e6)}
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, big, dtype=torch.float16)
    stored = load_file(path)
    assert stored["no_memory"].dtype == torch.float32
    assert stored["trunk.position"].dtype == torch.float16
    assert torch.equal(load_checkpoint(path).state["no_memory"], big["no_memory"])


def test_nano_keeps_its_counters_and_buffers(tmp_path):
    network = SAM2(PRESETS["nano"])
    path = save_checkpoint(
        tmp_path / "nano.safetensors", PRESETS["nano"], network.state_dict(), dtype=torch.float16
    )
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == PRESETS["nano"]
    built = build(checkpoint.config, checkpoint.state)
    assert built.state_dict()["trunk.stem.norm.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(built.trunk.stem.norm.running_var, network.trunk.stem.norm.running_var)


@pytest.mark.parametrize("name", ["new.safetensors", "new.pt"])
def test_a_full_disk_leaves_nothing_behind(state, tmp_path, name):
    resource = pytest.importorskip("resource", reason="limits of file size are a Unix matter")
    source = save_checkpoint(tmp_path / "x.safetensors", SMALL, state)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot write .*new.*larger than the file system allows"):
            convert(source, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [source]


def test_writing_into_no_folder(state, tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        save_checkpoint(tmp_path / "none/x.safetensors", SMALL, state)


# converting


def test_official_to_ours_and_back(official, state, tmp_path):
    source = write(tmp_path / "a.pt", {"model": official})
    ours, again = tmp_path / "b.safetensors", tmp_path / "c.pt"
    assert convert(source, ours, config=SMALL).kind == "official"
    assert convert(ours, again).kind == "maskwright"
    content = torch.load(again, weights_only=True)
    assert list(content) == ["model"]
    assert same(content["model"], official)
    assert abs(again.stat().st_size / source.stat().st_size - 1) < 0.02


def test_converting_to_half_precision_and_onto_itself(state, tmp_path):
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, state)
    full = path.stat().st_size
    convert(path, path, dtype=torch.float16)
    assert path.stat().st_size < 0.7 * full
    assert load_checkpoint(path).config == SMALL


def test_conversions_that_make_no_sense(state, tmp_path):
    path = save_checkpoint(tmp_path / "x.safetensors", SMALL, state)
    with pytest.raises(InputError, match=r"must end in \.safetensors \(ours\) or \.pt \(official\)"):
        convert(path, tmp_path / "x.onnx")
    image = {name: value for name, value in state.items() if not is_memory(name)}
    half = save_checkpoint(tmp_path / "image.safetensors", SMALL, image)
    with pytest.raises(CheckpointError, match="no official form, because it has no memory half"):
        convert(half, tmp_path / "x.pt")
    assert convert(half, tmp_path / "copy.safetensors").image_only
    nano = PRESETS["nano"]
    bundled = save_checkpoint(tmp_path / "nano.safetensors", nano, SAM2(nano).state_dict())
    with pytest.raises(CheckpointError, match="no official form, because it is another network"):
        convert(bundled, tmp_path / "x.pt")
