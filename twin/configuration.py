"""The configuration that a twin consists of."""

from typing import Any

Written = dict[str, Any]
"""A part of a stack's configuration, or of its catalogue file."""
