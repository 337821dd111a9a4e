"""Makes `_kit_sync.py` from `_kit_async.py`: the same calls without `await`. `--check` only compares."""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "python" / "vpnkit"
REPLACED = [
    (r'"""The kit for asyncio\. .*', '"""The kit for threads. Made by `twin.py` from `_kit_async.py`: change that one."""'),
    (r"\basync def __aenter__", "def __enter__"),
    (r"\basync def __aexit__", "def __exit__"),
    (r"\basync def ", "def "),
    (r"\bawait ", ""),
    (r"from \._loop import", "from ._thread import"),
    (r"vpnkit\.Kit ", "vpnkit.sync.Kit "),
]


def twin(text: str) -> str:
    for pattern, replacement in REPLACED:
        text = re.sub(pattern, replacement, text)
    return text


def main() -> int:
    target = PACKAGE / "_kit_sync.py"
    made = twin((PACKAGE / "_kit_async.py").read_text())
    if "--check" in sys.argv:
        if not target.exists() or target.read_text() != made:
            print(f"{target} is stale: run `python vpnkit-py/twin.py`", file=sys.stderr)
            return 1
    else:
        target.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
