"""The models that have a name: where each one's file comes from and what should be in it.

Sizes and sha256 sums of the official files are those that several independent public projects pin for the
same addresses; the files at the official address and in the Hugging Face repositories are the same bytes.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from maskwright.config import PRESETS, ModelConfig
from maskwright.errors import UnknownModelError

OFFICIAL = "https://dl.fbaipublicfiles.com/segment_anything_2"
"""Base address of the official checkpoints."""
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""What names of model files end in."""


@dataclass(frozen=True)
class Row:
    """One named model."""

    name: str
    """Catalogue name, a key of ``config.PRESETS``."""
    file: str
    """Name of the model file, the same at every source and in the cache."""
    parameters: int
    """Number of learned parameters."""
    release: str | None = None
    """Folder at the official address; None for the model inside the package."""
    repository: str | None = None
    """Hugging Face repository that holds ``file``."""
    size: int | None = None
    """Bytes of ``file``, where known beforehand."""
    sha256: str | None = None
    """Checksum of ``file``, lower-case hex; where None, the first download's is recorded and kept to."""
    licence: str = "Apache-2.0"
    """SPDX identifier of the weights' licence."""

    @property
    def bundled(self) -> bool:
        """Whether the file comes inside the package."""
        return self.release is None

    @property
    def config(self) -> ModelConfig:
        """The network that the file should hold."""
        return PRESETS[self.name]

    @property
    def pixel_mean(self) -> tuple[float, float, float]:
        """Subtracted from RGB in 0..1."""
        return self.config.pixel_mean

    @property
    def pixel_std(self) -> tuple[float, float, float]:
        """RGB in 0..1 is divided by this after the mean."""
        return self.config.pixel_std

    @property
    def address(self) -> str | None:
        """Official download address; None for the bundled model."""
        return None if self.release is None else self.address_at(OFFICIAL)

    def address_at(self, base: str) -> str:
        """Address of the file below ``base``, a mirror with the official folders."""
        return f"{base.rstrip('/')}/{self.release}/{self.file}"


def _official(name: str, file: str, parameters: int, size: int, sha256: str) -> Row:
    release = "092824" if file.startswith("sam2.1") else "072824"
    repository = "facebook/" + file.removesuffix(".pt").replace("_", "-")
    return Row(name, file, parameters, release, repository, size, sha256)


CATALOG: dict[str, Row] = {
    row.name: row
    for row in (
        Row("nano", "nano.safetensors", 4_373_153),
        _official(
            "sam2-tiny",
            "sam2_hiera_tiny.pt",
            38_945_986,
            155_906_050,
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
        _official(
            "sam2-small",
            "sam2_hiera_small.pt",
            46_043_842,
            184_309_650,
            "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        ),
        _official(
            "sam2-base+",
            "sam2_hiera_base_plus.pt",
            80_833_666,
            323_493_298,
            "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        ),
        _official(
            "sam2-large",
            "sam2_hiera_large.pt",
            224_430_130,
            897_952_466,
            "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        ),
        _official(
            "sam2.1-tiny",
            "sam2.1_hiera_tiny.pt",
            38_962_498,
            156_008_466,
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        ),
        _official(
            "sam2.1-small",
            "sam2.1_hiera_small.pt",
            46_060_354,
            184_416_285,
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        ),
        _official(
            "sam2.1-base+",
            "sam2.1_hiera_base_plus.pt",
            80_850_178,
            323_606_802,
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        ),
        _official(
            "sam2.1-large",
            "sam2.1_hiera_large.pt",
            224_446_642,
            898_083_611,
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        ),
    )
}
"""All named models, the bundled one first."""

_SIZES = {
    **dict.fromkeys(("tiny", "t"), "tiny"),
    **dict.fromkeys(("small", "s"), "small"),
    **dict.fromkeys(("baseplus", "base+", "bplus", "b+"), "base+"),
    **dict.fromkeys(("large", "l"), "large"),
}
_ALIAS = re.compile(
    r"(?:facebook/|configs/sam2(?:\.1)?/)?"
    r"sam[-_ ]?2(?P<point>[._]1)?(?:\.0)?[-_ ]?(?:hiera[-_ ]?)?"
    rf"(?P<size>{'|'.join(re.escape(size) for size in sorted(_SIZES, key=len, reverse=True))})"
)


def canonical(name: str) -> str | None:
    """The catalogue name that ``name`` stands for, or None.

    Besides the catalogue names themselves: Hugging Face repositories (``facebook/sam2.1-hiera-base-plus``),
    official configuration names (``configs/sam2.1/sam2.1_hiera_b+.yaml``) and names of official files
    without their suffix. Case does not matter.
    """
    wanted = name.strip().lower().removesuffix(".yaml")
    if wanted in CATALOG:
        return wanted
    match = _ALIAS.fullmatch(re.sub(r"base[-_ ]plus", "baseplus", wanted))
    if match is None:
        return None
    return f"sam2{'.1' if match['point'] else ''}-{_SIZES[match['size']]}"


def find(name: str) -> Row:
    """The row of a model by its name or an alias of it.

    Raises:
        UnknownModelError: there is none; the message names the nearest one.
    """
    known = canonical(name)
    if known is None:
        raise UnknownModelError(f"no model or model file is called {name!r}; {suggestion(name)}")
    return CATALOG[known]


def suggestion(name: str) -> str:
    """A hint for an unknown name: the nearest model, or all of them where nothing is near."""
    stem = re.split(r"[/\\]", name.strip().lower())[-1]
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    known = canonical(stem)
    if known is None:
        near = difflib.get_close_matches(stem, CATALOG, n=1, cutoff=0.5)
        known = near[0] if near else None
    return f"did you mean {known!r}?" if known else f"the models are {', '.join(CATALOG)}"
