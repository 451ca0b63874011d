"""Versions of PyTorch with which --shard was not tested are refused."""

from __future__ import annotations

import importlib.metadata

import pytest

from research.system.sharding_versions import check_torch_version


@pytest.mark.parametrize("version", ["2.13.0", "2.13.1+cu130"])
def test_tested_versions_are_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    check_torch_version()


@pytest.mark.parametrize("version", ["2.10.0", "2.14.0", "2.130.0"])
def test_untested_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(ValueError, match=rf"PyTorch 2\.13\.\*; found {version}"):
        check_torch_version()
