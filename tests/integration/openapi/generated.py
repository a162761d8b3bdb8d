"""Runs schemathesis, which reads the document of a running API and sends what it makes of it."""

import asyncio
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[2]


async def run_schemathesis(url: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Its exit code, which is 0 where it has found nothing, and what it tells.

    Args:
        url: of the document.
        folder: that it may write to.
        arguments: to `schemathesis run`, beside what schemathesis.toml says.
    """
    schemathesis = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        f"--config-file={FOLDER / 'schemathesis.toml'}",
        "run",
        url,
        *arguments,
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.integration.openapi.hooks", "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await schemathesis.communicate()
    assert schemathesis.returncode is not None
    return schemathesis.returncode, output.decode()
