"""What the exit codes of `model-csi` mean: the one table that scripts and `--help` go by."""

from enum import IntEnum

from csi_driver import errors


class ExitCode(IntEnum):
    """How a command ended. The numbers are part of the command line's interface and never change their meaning."""

    OK = 0
    UNEXPECTED = 1
    INVALID = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    NO_SPACE = 6
    UNSUPPORTED = 7
    BUSY = 8
    NO_DRIVER = 9
    INTERRUPTED = 130


MEANINGS: tuple[tuple[ExitCode, str], ...] = (
    (ExitCode.OK, "done"),
    (ExitCode.UNEXPECTED, "something unexpected; the text says what"),
    (ExitCode.INVALID, "the command line, a reference, a file or a setting is wrong"),
    (ExitCode.NOT_FOUND, "the registry has no such model"),
    (ExitCode.DENIED, "the credentials are missing, wrong or not sufficient"),
    (ExitCode.UNAVAILABLE, "the registry or the driver cannot answer now; try again"),
    (ExitCode.NO_SPACE, "no space for the model"),
    (ExitCode.UNSUPPORTED, "the artifact is damaged or not a model that can be mounted"),
    (ExitCode.BUSY, "the volume or target is in use otherwise"),
    (ExitCode.NO_DRIVER, "no driver listens at the endpoint"),
    (ExitCode.INTERRUPTED, "interrupted"),
)


class NoDriver(errors.Unavailable):
    """Nobody listens at the endpoint that was named."""


_CODES: tuple[tuple[type[errors.DriverError], ExitCode], ...] = (
    (NoDriver, ExitCode.NO_DRIVER),
    (errors.InvalidRequest, ExitCode.INVALID),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.Unauthenticated, ExitCode.DENIED),
    (errors.AccessDenied, ExitCode.DENIED),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.StillPulling, ExitCode.UNAVAILABLE),
    (errors.Stopping, ExitCode.UNAVAILABLE),
    (errors.NoSpace, ExitCode.NO_SPACE),
    (errors.UnsupportedArtifact, ExitCode.UNSUPPORTED),
    (errors.ContentMismatch, ExitCode.UNSUPPORTED),
    (errors.Busy, ExitCode.BUSY),
    (errors.Conflict, ExitCode.BUSY),
)


def code_of(error: errors.DriverError) -> ExitCode:
    """The code that a command ends with when it fails by `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)


def table() -> str:
    """The meanings as lines for `--help`."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS)
