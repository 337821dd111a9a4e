"""What the tests share: the repository, a real Xray, programs of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

Program = Callable[..., "subprocess.CompletedProcess[str]"]


# A shell's background job ignores Ctrl-C, and so would every program that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def xray() -> str:
    """The pinned Xray; its absence is a failure, not a skip."""
    binary = os.environ.get("VPNKIT_XRAY_BIN", "")
    assert Path(binary).is_file(), "VPNKIT_XRAY_BIN names no Xray: run `make xray`"
    return binary


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs a program of its own with the interpreter of the tests."""

    def run(text: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "program.py"
        file.write_text(text)
        command = [sys.executable, "-X", "dev", str(file), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=tmp_path)

    return run
