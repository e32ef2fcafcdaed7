"""What the packer recorded about one file: model-spec's FileMetadata annotation (docs/annotations.md)."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from csi_driver.oci import ijson

NANOSECONDS = 1_000_000_000
REGULAR_FILE = 0
"""The type flag of a regular file, as a number: modctl writes 0 and RamaLama 48, the ASCII code of tar's '0'."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_ASCII_ZERO = ord("0")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """A file as it was when it was packed; a field is None where the annotation says nothing usable.

    `mode` holds permission bits only, `mtime_ns` nanoseconds since the epoch, `size` bytes, `type_flag` tar's type flag
    as a number from 0 to 9.
    """

    name: str | None = None
    mode: int | None = None
    mtime_ns: int | None = None
    size: int | None = None
    type_flag: int | None = None
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the annotation `text` says; ValueError if it is no JSON object. A field of a wrong type says nothing."""
        members = ijson.loads(text.encode("utf-8", "surrogatepass"))
        if not isinstance(members, dict):
            raise ValueError("it is not a JSON object")
        mode = _number(members, "mode")
        return cls(
            name=_text(members, "name"),
            mode=None if mode is None else mode & 0o777,
            mtime_ns=_nanoseconds(_text(members, "mtime")),
            size=_number(members, "size"),
            type_flag=_type_flag(_number(members, "typeflag")),
            uid=_number(members, "uid"),
            gid=_number(members, "gid"),
        )

    @property
    def is_regular(self) -> bool:
        """Whether this describes a regular file, as it does where it does not say."""
        return self.type_flag in {None, REGULAR_FILE}

    def to_json(self) -> str:
        """The annotation's text with every member that model-spec names; the same metadata gives the same text."""
        members = {
            "name": self.name or "",
            "mode": self.mode or 0,
            "uid": self.uid or 0,
            "gid": self.gid or 0,
            "size": self.size or 0,
            "mtime": rfc3339(self.mtime_ns or 0),
            "typeflag": self.type_flag or REGULAR_FILE,
        }
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def rfc3339(nanoseconds: int) -> str:
    """A time since the epoch in UTC, with as many digits of the second as it needs."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{whole}{digits}Z"


def _nanoseconds(text: str | None) -> int | None:
    """An RFC 3339 time as nanoseconds since the epoch; None where it is malformed or before it (Go's zero time is)."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    offset = (int(match[9] or 0) * 60 + int(match[10] or 0)) * (-60 if match[8] == "-" else 60)
    seconds = (local - _EPOCH) // timedelta(seconds=1) - offset
    return None if seconds < 0 else seconds * NANOSECONDS + int((match[7] or "")[:9].ljust(9, "0"))


def _type_flag(value: int | None) -> int | None:
    return value - _ASCII_ZERO if value is not None and _ASCII_ZERO <= value <= _ASCII_ZERO + 9 else value


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) and value else None


def _number(members: Mapping[str, object], name: str) -> int | None:
    value = members.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
