import json
import math
import re
from pathlib import Path

import pytest
import torch

from maskwright.config import PRESETS
from maskwright.errors import UnknownModelError
from maskwright.model.sam2 import SAM2
from maskwright.weights import catalog
from maskwright.weights.catalog import CATALOG

OFFICIAL = [row for row in CATALOG.values() if not row.bundled]
GOLDEN_SIZE = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}


def test_every_preset_has_a_row_and_nano_comes_first():
    assert set(CATALOG) == set(PRESETS)
    assert next(iter(CATALOG)) == "nano"
    assert len(OFFICIAL) == 8


@pytest.mark.parametrize("row", OFFICIAL, ids=lambda row: row.name)
def test_official_rows_are_complete(row):
    release = "092824" if row.name.startswith("sam2.1") else "072824"
    assert row.address == f"https://dl.fbaipublicfiles.com/segment_anything_2/{release}/{row.file}"
    assert row.repository == "facebook/" + row.file.removesuffix(".pt").replace("_", "-")
    assert re.fullmatch(r"[0-9a-f]{64}", row.sha256)
    assert row.licence == "Apache-2.0"
    assert row.pixel_mean == (0.485, 0.456, 0.406)
    assert row.pixel_std == (0.229, 0.224, 0.225)


def test_no_two_rows_share_a_sum_or_a_size():
    assert len({row.sha256 for row in OFFICIAL}) == len({row.size for row in OFFICIAL}) == 8


@pytest.mark.parametrize("row", OFFICIAL, ids=lambda row: row.name)
def test_sizes_and_counts_agree_with_the_official_keys(row, shared: Path):
    version, _, size = row.name.partition("-")
    keys = json.loads((shared / f"golden/keys_{version}_{GOLDEN_SIZE[size]}.json").read_text())
    values = {name: math.prod(shape) for name, shape in keys.items()}
    buffer = values.pop("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")
    assert row.parameters == sum(values.values())
    # float32 plus the archive's own entry per tensor: a few hundred bytes each
    overhead = row.size - 4 * (row.parameters + buffer)
    assert 100 * len(keys) < overhead < 700 * len(keys)


@pytest.mark.parametrize("row", CATALOG.values(), ids=lambda row: row.name)
def test_counts_agree_with_the_networks(row):
    with torch.device("meta"):
        network = SAM2(row.config)
    assert row.parameters == sum(value.numel() for value in network.parameters())


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("sam2.1-tiny", "sam2.1-tiny"),
        (" SAM2.1-Tiny ", "sam2.1-tiny"),
        ("sam2.1_hiera_tiny", "sam2.1-tiny"),
        ("sam2.1_hiera_t", "sam2.1-tiny"),
        ("facebook/sam2.1-hiera-tiny", "sam2.1-tiny"),
        ("facebook/sam2-hiera-base-plus", "sam2-base+"),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1-base+"),
        ("sam2_hiera_l.yaml", "sam2-large"),
        ("sam2-b+", "sam2-base+"),
        ("sam2.1-base_plus", "sam2.1-base+"),
        ("sam2-bplus", "sam2-base+"),
        ("nano", "nano"),
    ],
)
def test_aliases(alias, name):
    assert catalog.find(alias).name == name


@pytest.mark.parametrize(
    "name", ["", "sam3-tiny", "sam2", "sam2.1", "sam2.1-huge", "sam2.1_hiera_tiny.pt", "../sam2-tiny"]
)
def test_what_is_no_name(name):
    assert catalog.canonical(name) is None


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("sam2.1-tinny", "sam2.1-tiny"),
        ("nanno", "nano"),
        ("models/sam2_hiera_large.pt", "sam2-large"),
        ("sam2-smal", "sam2-small"),
    ],
)
def test_unknown_names_get_the_nearest_one(name, near):
    with pytest.raises(UnknownModelError, match=re.escape(f"did you mean {near!r}?")) as caught:
        catalog.find(name)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_near_nothing_gets_the_list():
    with pytest.raises(UnknownModelError, match=re.escape("the models are nano, sam2-tiny")):
        catalog.find("vit_h")
