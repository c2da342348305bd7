# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples of the README run."""

import os
import re

import pytest
from conftest import run_program

with open(os.path.join(os.path.dirname(__file__), "..", "README.md"), encoding="utf-8") as readme:
    EXAMPLES = re.findall(r"```python\n(.*?)```", readme.read(), re.S)


@pytest.mark.parametrize(
    "example, lines",
    [(0, ["generation 1 is live: 2 nodes", "10.0.0.1:8087 a connection to 10.0.0.1:8087"]), (1, ["['10.0.0.1:8087']"]), (2, [])],
)
def test_an_example_runs(example, lines):
    done = run_program("exec(sys.argv[1])", EXAMPLES[example])
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert all(line in done.stdout for line in lines), done.stdout
    assert len(EXAMPLES) == 3
