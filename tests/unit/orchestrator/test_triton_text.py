"""Text out of an engine's pieces, whatever way they are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import ModelUnavailable
from orchestrator.generation.triton_codecs import CODECS
from orchestrator.generation.triton_tensors import Tensor, count_in, number, text_in, texts
from orchestrator.generation.triton_text import CumulativeText, DeltaText, StopFilter
from orchestrator.types import Sampling

STOP = ("<end_of_turn>", "END")
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"))


@st.composite
def cut(draw):
    """A text and its bytes in pieces."""
    text = draw(ANY_TEXT)
    raw = text.encode()
    ends = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {len(raw)})
    return text, [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(cut())
def test_pieces_cut_anywhere_are_the_text(made):
    text, pieces = made
    source = DeltaText()
    assert "".join(source.push(piece) for piece in pieces) + source.rest() == text


@given(cut(), st.booleans())
def test_a_growing_text_is_said_once_also_when_cut_characters_are_replaced(made, are_replaced):
    text, pieces = made
    source = CumulativeText()
    raw, said = b"", ""
    for piece in pieces:
        raw += piece
        said += source.push(raw.decode("utf-8", "replace").encode() if are_replaced else raw)
        assert "\ufffd" not in said
    assert said + source.rest() == text


def test_an_engine_that_takes_back_what_it_said_is_not_understood():
    source = CumulativeText()
    source.push(b"In ")
    with pytest.raises(ModelUnavailable):
        source.push(b"Smiljan")


@given(st.lists(st.sampled_from(["a", "<", "<end_of", "_turn>", "<end_of_turn>", "E", "EN", "D", "ND", "b c"])))
def test_nothing_is_said_from_the_first_stop_sequence_on(pieces):
    whole = "".join(pieces)
    stops = StopFilter(STOP)
    said = "".join(stops.push(piece) for piece in pieces) + stops.rest()
    found = [at for at in map(whole.find, STOP) if at >= 0]
    assert said == (whole[: min(found)] if found else whole)
    assert stops.is_stopped == bool(found)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"text_output": Tensor("text_output", "INT32", (1,), struct.pack("<i", 5))},
        {"text_output": Tensor("text_output", "BYTES", (1,), b"\x05\x00")},
        {"text_output": Tensor("text_output", "BYTES", (1,), struct.pack("<I", 9) + b"short")},
    ],
)
def test_a_malformed_text_tensor_is_an_error(broken):
    with pytest.raises(ModelUnavailable):
        text_in(broken, "text_output")


@pytest.mark.parametrize("tensor", [Tensor("n", "FP32", (1,), b"\0" * 4), Tensor("n", "INT32", (1,), b"\0")])
def test_a_malformed_count_is_an_error(tensor):
    with pytest.raises(ModelUnavailable):
        count_in({"n": tensor}, "n")


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_seed_below_zero_and_every_sampling_fit_the_tensors(codec):
    tensors = CODECS[codec].inputs("hello", Sampling(max_tokens=4_096, temperature=0.0, seed=-1), STOP)
    assert {tensor.name for tensor in tensors} >= {"text_input"}


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, []), (0.7, [1.0])])
def test_a_temperature_moves_the_engine_that_is_greedy_without_a_top_p(temperature, top_p):
    tensors = CODECS["ensemble"].inputs("hello", Sampling(temperature=temperature), STOP)
    assert [struct.unpack("<f", tensor.raw)[0] for tensor in tensors if tensor.name == "top_p"] == top_p


def test_what_is_written_is_what_is_read():
    assert text_in({"t": texts("t", ["\u0421\u043c", "x"], (2,))}, "t").decode() == "\u0421\u043c"
    assert count_in({"n": number("n", "UINT64", 2**63, (1,))}, "n") == 2**63
