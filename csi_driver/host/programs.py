"""How another program is run: for a bounded time, with bounded output, and with nothing of it left behind."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

_PIECE = 1 << 16


class ProgramFailed(Exception):
    """The program could not be run to its end; the text says why, and quotes nothing that it wrote."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. What it wrote may be secret."""

    code: int
    output: bytes = field(repr=False)
    errors: bytes = field(repr=False)


def find(name: str, path: str) -> Path | None:
    """The program of that name in the directories of `path`, which a colon separates; None if there is none."""
    found = shutil.which(name, path=path) if path else None
    return Path(found) if found else None


def run(
    program: Path,
    arguments: Sequence[str],
    *,
    input_: bytes,
    environ: Mapping[str, str],
    timeout: float,
    most_bytes: int,
) -> Ran:
    """Run `program` with `input_` on its standard input until it has ended, for at most `timeout` seconds.

    Raises `ProgramFailed` when it cannot be started, does not end in time, or writes more than `most_bytes` to standard
    output or standard error. Then it is killed, and so is all that it started and that did not leave its session.
    """
    deadline = time.monotonic() + timeout
    try:
        # A session of its own, so that all of it can be killed. It inherits that SIGTERM is blocked, as in all threads.
        process = subprocess.Popen(  # noqa: S603  which program this is, only files of the node's operator say
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environ),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProgramFailed(f"{program} cannot be run: {reason}") from error
    with process:
        try:
            output, errors = _exchange(process, input_, deadline, most_bytes)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ProgramFailed(f"{program} did not end within {timeout:g} s") from None
        except OverflowError:
            raise ProgramFailed(f"{program} wrote more than {most_bytes} bytes") from None
        finally:
            if process.returncode is None:  # not waited for: the number is still its own
                os.killpg(process.pid, signal.SIGKILL)
    return Ran(code, output, errors)


def _exchange(process: "subprocess.Popen[bytes]", input_: bytes, deadline: float, most: int) -> tuple[bytes, bytes]:
    """Write all input and read all output, whichever way the program takes them.

    Raises `TimeoutError`, and `OverflowError` for more output than `most` bytes of either kind.
    """
    stdin, stdout, stderr = (cast(IO[bytes], pipe) for pipe in (process.stdin, process.stdout, process.stderr))
    left = memoryview(input_)
    read: dict[IO[bytes], bytearray] = {stdout: bytearray(), stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in read:
            selector.register(stream, selectors.EVENT_READ)
        os.set_blocking(stdin.fileno(), False)
        selector.register(stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                stream = key.fileobj  # type: ignore[assignment]  # only streams were registered
                if stream is stdin:
                    left = _write(stdin, left)
                    done = not left
                else:
                    piece = os.read(key.fd, _PIECE)
                    read[stream] += piece
                    done = not piece
                if done:
                    selector.unregister(stream)
                    stream.close()
                elif len(read.get(stream, b"")) > most:
                    raise OverflowError
    return bytes(read[stdout]), bytes(read[stderr])


def _write(stream: IO[bytes], data: memoryview) -> memoryview:
    """What is left of `data` after as much as the pipe takes now; nothing when nobody reads it any more."""
    try:
        return data[os.write(stream.fileno(), data) :] if data else data
    except BrokenPipeError:
        return data[:0]
    except BlockingIOError:
        return data
