"""The corpus: what is tried first, and what the fuzz makes its inputs of. What it finds is added here."""

import hashlib
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def entries(kind: str) -> dict[str, bytes]:
    """All of a kind, `requests` or `messages`, by name."""
    return {file.stem: file.read_bytes() for file in sorted((CORPUS / kind).iterdir())}


def save(kind: str, data: bytes) -> Path:
    """Add an input that was answered wrongly, so that it is tried each time from now on."""
    file = CORPUS / kind / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return file
