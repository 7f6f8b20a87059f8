"""Prints the lower bounds of pyproject.toml as exact versions: what `.ci/run oldest` installs."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
needed = list(project["dependencies"])
# Of the developer's tools those that tests/ needs.
needed += [
    line for line in project["optional-dependencies"]["dev"] if re.match("pytest|nbval", line)
]
for line in needed:
    print(re.sub(r">=([\d.]+).*", r"==\1", line))
