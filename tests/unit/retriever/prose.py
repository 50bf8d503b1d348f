"""Office prose in many languages, and the encodings that programs of the time wrote each in."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROSE: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WESTERN = ("pt", "sv", "it", "fi", "fr", "es", "de", "da", "nl", "no")
CHARSETS = {
    **dict.fromkeys((*WESTERN, "is", "ca"), ("cp1252", "latin-1")),
    **dict.fromkeys(("pl", "cs", "sk", "hu", "ro", "hr"), ("cp1250", "iso8859-2")),
    **dict.fromkeys(("lt", "et"), ("cp1257",)),
    "tr": ("cp1254",),
    "ru": ("cp1251", "koi8-r", "cp866", "iso8859-5"),
    "uk": ("cp1251",),
    "el": ("cp1253", "iso8859-7"),
    "he": ("cp1255",),
    "ar": ("cp1256",),
    "ja": ("cp932", "euc_jp"),
    "zh": ("gb18030",),
    "zh-hant": ("big5",),
    "ko": ("cp949",),
}
