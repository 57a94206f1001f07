"""What is given to others: wheel and source distribution, and what they are installed with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **variables):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def unpacked(tmp_path):
    """The source distribution, unpacked."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("seedwise-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    return tmp_path / archive.name.removesuffix(".tar.gz")


def test_the_sdist_has_all_that_its_tests_read(unpacked):
    folders = (".ci", ".github", "docs", "examples", "src", "tests")
    here = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "runs"} & {*path.parts}
    }
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert here <= there
    assert there - here == {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return folder


def test_the_conda_recipe_asks_for_the_same_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {"dask": "dask-core", "lazy-loader": "lazy_loader"}
    wanted = {f"python {project['requires-python']}"}
    for bound in project["dependencies"]:
        name, version = bound.split(">=")
        wanted.add(f"{names.get(name, name)} >={version}")
    recipe = (ROOT / "docs" / "conda" / "meta.yaml").read_text()
    run_section = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    assert {line.strip(" -") for line in run_section.splitlines()} == wanted
    assert project["description"] in recipe


def test_an_index_takes_wheel_and_sdist(built):
    files = sorted(built.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    out = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built)
    assert out.count("PASSED") == 2


def test_the_quick_start_runs_from_the_wheel_alone(built, tmp_path):
    """Nothing of the repository is there but the script, and no package but what it asks for."""
    venv.create(tmp_path / "env", with_pip=True)
    bin_folder = tmp_path / "env" / "bin"
    (wheel,) = built.glob("*.whl")
    run(bin_folder / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    shutil.copy(ROOT / "examples" / "quickstart.py", tmp_path)
    out = run(bin_folder / "python", "quickstart.py", cwd=tmp_path)
    assert "best parameters: {'learning_rate': " in out
    version = run(bin_folder / "python", "-m", "seedwise", "--version", cwd=tmp_path)
    assert version == run(bin_folder / "seedwise", "--version", cwd=tmp_path)
    assert version.split()[-1] in wheel.name
    assert {path.name for path in tmp_path.iterdir()} == {"env", "quickstart.py", "runs"}


# They read the documents, the settings and the source; the others read nothing but themselves.
OF_FILES = ["docs", "docstrings", "layers", "public_names", "style", "typing", "workflow"]


@pytest.mark.full
def test_the_tests_of_the_sdist_pass(unpacked):
    tests = [f"tests/test_{name}.py" for name in OF_FILES]
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(sys.executable, *words, "--collect-only", cwd=unpacked, PYTHONPATH=str(unpacked / "src"))
    run(sys.executable, *words, *tests, cwd=unpacked, PYTHONPATH=str(unpacked / "src"))


# An optimisation, a sweep, resuming, what needs SciPy, and what failed with the oldest versions.
WITH_FLOORS = [
    *("cluster/test_local.py", "test_cli.py", "test_optimize_run.py", "test_resume.py"),
    *("test_sweep.py", "usercode/test_fingerprint.py", "model/test_gaussian_process.py"),
    *("model/test_surrogate.py", "study/test_smoothed.py", "results", "view/page"),
    *("view/test_faces.py", "view/test_commands.py"),
    *("cluster/test_own_pages.py", "cluster/test_pages.py"),
]


def test_the_files_of_the_run_with_the_oldest_versions_are_there():
    assert [name for name in WITH_FLOORS if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_oldest_versions_that_may_be_installed_work(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    bounds = [*project["project"]["dependencies"]]
    for extra in ("cmaes", "pandas", "plot"):
        bounds += extras[extra]
    oldest = [bound.replace(">=", "==") for bound in bounds]
    oldest.append("pyparsing<3.3")  # it warns of the names that matplotlib 3.9 calls
    (tmp_path / "oldest.txt").write_text("\n".join(oldest))
    venv.create(tmp_path / "env", with_pip=True)
    python, needed = tmp_path / "env/bin/python", project["dependency-groups"]["test"]
    needed = [one for one in needed if isinstance(one, str)]
    asked = ["-c", tmp_path / "oldest.txt", f"{ROOT}[plot]", *needed]
    run(python, "-m", "pip", "install", *asked, cwd=tmp_path)
    frozen = run(python, "-m", "pip", "freeze", cwd=tmp_path)
    assert "numpy==2.0.0" in frozen.splitlines()
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not full and not benchmark")
    run(python, *words, *(f"tests/{name}" for name in WITH_FLOORS), cwd=ROOT)
