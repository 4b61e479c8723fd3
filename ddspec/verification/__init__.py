"""Verification of a run: files, digests, artifacts and numbers, each against its origin."""

from ddspec.verification.checks import verify
from ddspec.verification.finding import Finding

__all__ = ["Finding", "verify"]
