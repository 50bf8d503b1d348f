"""A small tokenizer.json of the kind published beside Gemma: SentencePiece-like BPE with bytes to fall back on."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.unit.orchestrator.passages import AMAZON, TESLA

CONTROL = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def write_gemma_like(file: Path) -> Path:
    """Trained on two paragraphs; digits stand alone, blanks are part of words, every sequence gets a <bos>."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|\u2581?[^\d\u2581]+"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<pad>", *CONTROL, "<unk>", *BYTES],
        initial_alphabet=list("0123456789"),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TESLA, AMAZON], trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(file))
    return file
