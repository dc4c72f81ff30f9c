"""What recordings need that not every machine has."""

from __future__ import annotations

from st4vla.contracts.errors import MissingExtraError


def require_record_extra() -> None:
    """Check that recordings can be written and read here; called before the modules that do so are imported.

    Raises:
        MissingExtraError: A package is missing.
    """
    try:
        import google.protobuf  # noqa: F401, PLC0415
        import mcap  # noqa: F401, PLC0415
    except ImportError as error:
        msg = f"recordings need {error.name}, which is not installed; install it with: pip install 'st4vla[record]'"
        raise MissingExtraError(msg) from error
