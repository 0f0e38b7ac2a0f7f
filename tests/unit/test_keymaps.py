import torch

from maskwright.weights import keymaps
from maskwright.weights.keymaps import from_ours, is_memory, rename, to_ours


def test_no_row_repeats_a_name():
    rows = [*keymaps.TENSORS, *keymaps.MODULES]
    for column in range(3):
        names = [row[column] for row in rows]
        assert len(set(names)) == len(names)


def test_numbers_travel_along():
    assert rename(["trunk.blocks.17.mlp.layers.1.bias"], "maskwright", "official") == {
        "trunk.blocks.17.mlp.layers.1.bias": "image_encoder.trunk.blocks.17.mlp.layers.1.bias"
    }
    assert rename(
        ["sam_mask_decoder.output_hypernetworks_mlps.2.layers.2.weight"], "official", "transformers"
    ) == {
        "sam_mask_decoder.output_hypernetworks_mlps.2.layers.2.weight": (
            "mask_decoder.output_hypernetworks_mlps.2.proj_out.weight"
        )
    }


def test_the_neck_is_counted_from_the_other_end():
    names = rename([f"image_encoder.neck.convs.{i}.conv.weight" for i in range(4)], "official", "maskwright")
    assert list(names.values()) == [f"neck.laterals.{i}.weight" for i in (3, 2, 1, 0)]


def test_unknown_names_have_no_counterpart():
    names = ["trunk.blocks.x.norm1.weight", "trunk.blocks.1.norm9.weight", "", "no_mem_embed.weight", "0"]
    assert set(rename(names, "official", "maskwright").values()) == {None}
    state, strange = to_ours({"no_mem_embed": torch.zeros(1), "extra.3": torch.ones(1)}, "official")
    assert list(state) == ["no_memory"]
    assert strange == ["extra.3"]


def test_label_rows_are_split_without_a_copy_and_stacked_again():
    stacked = torch.arange(8.0).view(4, 2)
    state, strange = to_ours({"prompt_encoder.point_embed.weight": stacked}, "transformers")
    assert strange == []
    assert [state[f"prompt_encoder.point_labels.{i}"].tolist() for i in range(4)] == stacked[:, None].tolist()
    assert state["prompt_encoder.point_labels.1"].data_ptr() == stacked[1].data_ptr()
    state["prompt_encoder.position.frequencies_2C"] = torch.ones(2, 1)
    back = from_ours(state, "transformers")
    assert torch.equal(back["prompt_encoder.point_embed.weight"], stacked)
    assert set(back) == {
        "prompt_encoder.point_embed.weight",
        keymaps.POSITION.transformers,
        keymaps.SECOND_POSITION,
    }


def test_either_name_of_the_frequencies_will_do_and_two_different_sets_will_not():
    a, b = torch.ones(2, 3), torch.zeros(2, 3)
    first, second = keymaps.POSITION.transformers, keymaps.SECOND_POSITION
    ours = "prompt_encoder.position.frequencies_2C"
    for state in ({first: a}, {second: a}, {first: a, second: a.clone()}):
        mapped, strange = to_ours(state, "transformers")
        assert strange == []
        assert torch.equal(mapped[ours], a)
    mapped, strange = to_ours({first: a, second: b}, "transformers")
    assert strange == [second]


def test_what_belongs_to_the_memory_half():
    assert is_memory("memory_time")
    assert is_memory("pointer_projection.layers.0.weight")
    assert is_memory("no_memory_position")
    assert is_memory("no_object_pointer")
    assert not is_memory("no_memory")
    assert not is_memory("mask_decoder.object_head.layers.0.weight")
