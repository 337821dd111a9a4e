"""Makes `_kit_sync.py` from `_kit_async.py`: the same calls without `await`. `--check` only compares."""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "python" / "vpnkit"
REPLACED = [
    (r'"""(.*) for asyncio\. `_(\w+)_sync.*', r'"""\1 for threads. Made by `twin.py` from `_\2_async.py`: change that one."""'),
    (r"from \._nouns_async import", "from ._nouns_sync import"),
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
    stale = 0
    for source in sorted(PACKAGE.glob("_kit_async.py")):
        target = source.with_name(source.name.replace("_async", "_sync"))
        made = twin(source.read_text())
        if "--check" not in sys.argv:
            target.write_text(made)
        elif not target.exists() or target.read_text() != made:
            print(f"{target} is stale: run `python vpnkit-py/twin.py`", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
