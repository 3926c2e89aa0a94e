"""That this suite's settings turn into failures what would else be lines nobody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

QUIET = {
    "a file that nobody closes": "import gc\ndef test_it():\n    open(__file__)\n    gc.collect()\n",
    "a socket that nobody closes": "import gc, socket\ndef test_it():\n    socket.socket()\n    gc.collect()\n",
    "an exception in a thread": "import threading\ndef test_it():\n"
    "    thread = threading.Thread(target=lambda: 1 / 0)\n    thread.start()\n    thread.join()\n",
    "an exception in __del__": "import gc\nclass A:\n    def __del__(self):\n        1 / 0\n"
    "def test_it():\n    A()\n    gc.collect()\n",
    "a warning": "import warnings\ndef test_it():\n    warnings.warn('old')\n",
    "a fault in a thread of the server": "import pytest\ndef test_it(registry):\n"
    "    registry.errors.append(RuntimeError('ours'))\n",
}


@pytest.mark.parametrize(
    "source", [*QUIET.values(), "def test_it():\n    pass\n"], ids=[*QUIET, "nothing: the control"]
)
def test_what_goes_wrong_quietly_fails_a_test(pytester: pytest.Pytester, source: str) -> None:
    path = pytester.makepyfile(test_quiet=source)
    result = pytester.runpytest_subprocess("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(path.parent), str(path))
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == (0 if source.endswith("pass\n") else 1)
