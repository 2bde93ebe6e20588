"""What may be nothing, where a test knows that it is something."""

from __future__ import annotations

from typing import TypeVar

_Some = TypeVar("_Some")


def there(one: _Some | None) -> _Some:
    """Return it as it is; the test fails where there is none."""
    assert one is not None, "there is none"
    return one
