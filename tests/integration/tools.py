"""Programs of others that tests run: the system's, or those that `make test` unpacks."""

import os
import shutil

import pytest
from tests.integration.programs import ROOT


def program(name: str, package: str) -> str:
    """Where it is. Without it the test is skipped, but fails in CI."""
    unpacked = ROOT / ".tools" / package / "usr"
    found = shutil.which(name) or shutil.which(name, path=f"{unpacked}/bin:{unpacked}/sbin:/usr/sbin")
    if found is None:
        reason = f"no {name}: deploy/debian-program {package} {name} fetches it where apt is"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found
