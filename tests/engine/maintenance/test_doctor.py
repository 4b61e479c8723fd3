"""The doctor's checks say what they found, and which of them a run requires."""

from contextlib import contextmanager

import pytest

from ddspec.engine.maintenance import doctor
from ddspec.engine.maintenance.doctor import (
    dataset_checks,
    disk_checks,
    lock_check,
    package_checks,
    rename_check,
)


def test_sound_folder_passes_and_is_left_empty(tmp_path):
    checks = {check.subject: check for check in disk_checks(tmp_path / "store")}
    assert list(checks) == ["disk", "renaming", "locks"]
    assert checks["renaming"].passed and checks["locks"].passed
    assert not list(tmp_path.iterdir())


def test_folder_without_locks_is_reported_but_not_required(tmp_path, monkeypatch):
    @contextmanager
    def no_lock(*arguments):
        yield

    monkeypatch.setattr(doctor, "locked", no_lock)
    check = lock_check(tmp_path)
    assert (check.passed, check.required) == (False, False)


def test_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor, "rename_check", refuse)
    (failed,) = [check for check in disk_checks(tmp_path) if check.subject == "renaming"]
    assert not failed.passed
    assert "Read-only file system" in failed.detail


def test_renaming_replaces_a_file(tmp_path):
    assert rename_check(tmp_path).passed


def test_missing_package_fails_and_is_required(monkeypatch):
    monkeypatch.setattr(doctor, "CHECKED_PACKAGES", ("numpy", "no-such-package"))
    present, missing = package_checks()
    assert present.passed
    assert (missing.passed, missing.required, missing.detail) == (False, True, "not installed")


def test_missing_dataset_is_not_required(tmp_path):
    checks = {check.subject: check for check in dataset_checks(tmp_path)}
    assert checks["dataset digits"].passed
    assert not checks["dataset cifar10"].passed
    assert not any(check.required for check in checks.values())


@pytest.mark.parametrize("slow", [-1.0, 1e9])
def test_slow_search_for_one_dataset_ends_the_search(tmp_path, monkeypatch, slow):
    monkeypatch.setattr(doctor, "SLOW_SECONDS", slow)
    subjects = [check.subject for check in dataset_checks(tmp_path)]
    assert ("other datasets" in subjects) == (slow < 0)
    assert (len(subjects) == 2) == (slow < 0)
