"""Four files describe one environment; here they are held together."""

from __future__ import annotations

import os
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mmadlib.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {"pytorch": "torch"}
CONDA_FILES = {"environment.yml": ("notebooks", "workflow", "test"), "binder/environment.yml": ("notebooks",)}


def requirements(*extras: str) -> list[Requirement]:
    return [Requirement(r) for r in PROJECT["dependencies"] + [r for e in extras for r in EXTRAS[e]]]


def lock() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


def conda(path: str) -> dict[str, str]:
    """Normalised name -> version text, pip section included; an entry without version gives ""."""
    pins = {}
    for entry in yaml.safe_load((ROOT / path).read_text())["dependencies"]:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            name, _, version = text.replace("==", "=").partition("=")
            pins[canonicalize_name(CONDA_NAMES.get(name, name))] = version.removesuffix(".*")
    return pins


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def test_lock_has_exact_plain_versions_only():
    text = (ROOT / "requirements.lock").read_text()
    for name, version in lock().items():
        assert canonicalize_name(name) == name and str(Version(version)) == version
        assert Version(version).local is None, f"{name}: a local suffix exists on one package index only"
    assert not re.search(r"^\s*-|--hash|https?://", text, re.M), "options and hosts belong to the user's pip configuration"
    assert lock()["torch"] == "2.13.0"


def test_lock_meets_every_range_of_the_project():
    pins = lock()
    for requirement in requirements(*EXTRAS):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("path", CONDA_FILES)
def test_conda_files_have_what_the_project_needs_in_the_locked_minor_version(path):
    pins, locked = conda(path), lock()
    for requirement in requirements(*CONDA_FILES[path]):
        assert canonicalize_name(requirement.name) in pins, f"{path} lacks {requirement.name}"
    for name, version in pins.items():
        if name not in ("python", "pip"):
            assert version == minor(locked[name]), f"{path}: {name}={version}, locked {locked[name]}"


@pytest.mark.parametrize("path", CONDA_FILES)
def test_conda_files_are_readable_by_binder(path):
    text = (ROOT / path).read_text()
    assert re.search(r"^  - python=3\.11$", text, re.M), "repo2docker understands this spelling only"
    assert "-e ." not in text.split("dependencies:")[1], "a local install switches off Binder's cached layer"
    assert "conda-forge" in yaml.safe_load(text)["channels"]


def test_binder_is_a_part_of_the_root_environment():
    assert conda("binder/environment.yml").items() <= conda("environment.yml").items()


def test_build_scripts_are_executable():
    for path in ("binder/postBuild", ".ci/run"):
        assert os.access(ROOT / path, os.X_OK), path


def test_make_checks_a_library_of_each_listed_system_package():
    packages = (ROOT / "binder" / "apt.txt").read_text().split()
    libraries = re.search(r"^LIBRARIES := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].lower().split()
    stems = [re.match(r"lib[a-z]+", name)[0] for name in packages]
    assert len(stems) == len(libraries) and all(any(lib.startswith(stem) for lib in libraries) for stem in stems)
