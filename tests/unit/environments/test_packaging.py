"""What the package in environments/ consists of, and that the page names the versions that it is tested under."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "environments"
EXTRAS = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def test_the_page_names_the_pinned_versions_and_the_script_installs_every_extra():
    page = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8").lower()
    for name, (pin, *_) in EXTRAS.items():
        assert f"| {name} {pin.partition('==')[2]} |" in page, pin
    (groups,) = re.findall(
        r"^for extras in (.+); do$", (ROOT / "script" / "setup_frameworks.sh").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(groups.replace(",", " ").split()) == sorted(EXTRAS)


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path):
    source = shutil.copytree(FOLDER, tmp_path / "source", ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    build = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("pddl_planning-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    own = {path.relative_to(source).as_posix() for path in (source / "pddl_planning").rglob("*.*")}
    assert held == own and len(own) >= 8
