import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PullRequest(_message.Message):
    __slots__ = ("reference", "exclude_model_weights", "exclude_file_patterns", "pull_policy", "secrets", "include_file_patterns", "layer_roles", "pin")
    class SecretsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_MODEL_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FILE_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    PULL_POLICY_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FILE_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    LAYER_ROLES_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    reference: str
    exclude_model_weights: bool
    exclude_file_patterns: _containers.RepeatedScalarFieldContainer[str]
    pull_policy: str
    secrets: _containers.ScalarMap[str, str]
    include_file_patterns: _containers.RepeatedScalarFieldContainer[str]
    layer_roles: _containers.RepeatedScalarFieldContainer[str]
    pin: bool
    def __init__(self, reference: _Optional[str] = ..., exclude_model_weights: _Optional[bool] = ..., exclude_file_patterns: _Optional[_Iterable[str]] = ..., pull_policy: _Optional[str] = ..., secrets: _Optional[_Mapping[str, str]] = ..., include_file_patterns: _Optional[_Iterable[str]] = ..., layer_roles: _Optional[_Iterable[str]] = ..., pin: _Optional[bool] = ...) -> None: ...

class PullProgress(_message.Message):
    __slots__ = ("underway", "model")
    class Underway(_message.Message):
        __slots__ = ("message", "fetched_bytes", "total_bytes", "bytes_per_second")
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        FETCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
        TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
        BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
        message: str
        fetched_bytes: int
        total_bytes: int
        bytes_per_second: float
        def __init__(self, message: _Optional[str] = ..., fetched_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., bytes_per_second: _Optional[float] = ...) -> None: ...
    UNDERWAY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    underway: PullProgress.Underway
    model: PulledModel
    def __init__(self, underway: _Optional[_Union[PullProgress.Underway, _Mapping]] = ..., model: _Optional[_Union[PulledModel, _Mapping]] = ...) -> None: ...

class PulledModel(_message.Message):
    __slots__ = ("reference", "manifest_digest", "size_bytes", "files")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    reference: str
    manifest_digest: str
    size_bytes: int
    files: int
    def __init__(self, reference: _Optional[str] = ..., manifest_digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., files: _Optional[int] = ...) -> None: ...

class UnpinRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UnpinResponse(_message.Message):
    __slots__ = ("pins",)
    PINS_FIELD_NUMBER: _ClassVar[int]
    pins: int
    def __init__(self, pins: _Optional[int] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[CachedModel]
    def __init__(self, models: _Optional[_Iterable[_Union[CachedModel, _Mapping]]] = ...) -> None: ...

class CachedModel(_message.Message):
    __slots__ = ("reference", "manifest_digest", "selection", "size_bytes", "files", "volumes", "last_used", "pinned")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    reference: str
    manifest_digest: str
    selection: str
    size_bytes: int
    files: int
    volumes: int
    last_used: _timestamp_pb2.Timestamp
    pinned: bool
    def __init__(self, reference: _Optional[str] = ..., manifest_digest: _Optional[str] = ..., selection: _Optional[str] = ..., size_bytes: _Optional[int] = ..., files: _Optional[int] = ..., volumes: _Optional[int] = ..., last_used: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pinned: _Optional[bool] = ...) -> None: ...

class HeldRequest(_message.Message):
    __slots__ = ("layers",)
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, layers: _Optional[_Iterable[str]] = ...) -> None: ...

class HeldResponse(_message.Message):
    __slots__ = ("layers",)
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    layers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, layers: _Optional[_Iterable[str]] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("references", "max_bytes_per_second")
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedScalarFieldContainer[str]
    max_bytes_per_second: int
    def __init__(self, references: _Optional[_Iterable[str]] = ..., max_bytes_per_second: _Optional[int] = ...) -> None: ...

class VerifyProgress(_message.Message):
    __slots__ = ("underway", "verified")
    class Underway(_message.Message):
        __slots__ = ("read_bytes", "total_bytes", "damages")
        READ_BYTES_FIELD_NUMBER: _ClassVar[int]
        TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
        DAMAGES_FIELD_NUMBER: _ClassVar[int]
        read_bytes: int
        total_bytes: int
        damages: _containers.RepeatedCompositeFieldContainer[Damage]
        def __init__(self, read_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., damages: _Optional[_Iterable[_Union[Damage, _Mapping]]] = ...) -> None: ...
    UNDERWAY_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    underway: VerifyProgress.Underway
    verified: Verified
    def __init__(self, underway: _Optional[_Union[VerifyProgress.Underway, _Mapping]] = ..., verified: _Optional[_Union[Verified, _Mapping]] = ...) -> None: ...

class Verified(_message.Message):
    __slots__ = ("layers", "snapshots", "read_bytes", "damages")
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    DAMAGES_FIELD_NUMBER: _ClassVar[int]
    layers: int
    snapshots: int
    read_bytes: int
    damages: _containers.RepeatedCompositeFieldContainer[Damage]
    def __init__(self, layers: _Optional[int] = ..., snapshots: _Optional[int] = ..., read_bytes: _Optional[int] = ..., damages: _Optional[_Iterable[_Union[Damage, _Mapping]]] = ...) -> None: ...

class Damage(_message.Message):
    __slots__ = ("what", "reason", "models", "volumes")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    what: str
    reason: str
    models: _containers.RepeatedScalarFieldContainer[str]
    volumes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, what: _Optional[str] = ..., reason: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., volumes: _Optional[_Iterable[str]] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ("dry_run", "free_bytes")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    free_bytes: int
    def __init__(self, dry_run: _Optional[bool] = ..., free_bytes: _Optional[int] = ...) -> None: ...

class CollectResponse(_message.Message):
    __slots__ = ("freed_bytes", "given_up", "kept")
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    GIVEN_UP_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    freed_bytes: int
    given_up: _containers.RepeatedCompositeFieldContainer[CacheItem]
    kept: _containers.RepeatedCompositeFieldContainer[CacheItem]
    def __init__(self, freed_bytes: _Optional[int] = ..., given_up: _Optional[_Iterable[_Union[CacheItem, _Mapping]]] = ..., kept: _Optional[_Iterable[_Union[CacheItem, _Mapping]]] = ...) -> None: ...

class CacheItem(_message.Message):
    __slots__ = ("name", "reason", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class VolumeStatsCondition(_message.Message):
    __slots__ = ("volume_condition",)
    class VolumeCondition(_message.Message):
        __slots__ = ("abnormal", "message")
        ABNORMAL_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        abnormal: bool
        message: str
        def __init__(self, abnormal: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...
    VOLUME_CONDITION_FIELD_NUMBER: _ClassVar[int]
    volume_condition: VolumeStatsCondition.VolumeCondition
    def __init__(self, volume_condition: _Optional[_Union[VolumeStatsCondition.VolumeCondition, _Mapping]] = ...) -> None: ...
