"""Credential providers: programs that know the credentials of clouds' registries, asked as kubelet asks them."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_driver import log
from csi_driver.config import Credentials
from csi_driver.errors import DriverError
from csi_driver.host.programs import ProgramFailed
from csi_driver.inflight import Deadline, Flights, Lock, Pool, Wait
from csi_driver.registry.keychain.account import ServiceAccount
from csi_driver.registry.keychain.entries import matching
from csi_driver.registry.keychain.owners import NODE
from csi_driver.registry.keychain.provider import Question, Reply, ask
from csi_driver.registry.keychain.providerconfig import Provider, parse_config
from csi_driver.registry.keychain.source import Found

_MOST_REPLIES = 1024
_AT_ONCE = 8
_FAILED = 10.0  # seconds
_SUFFIXES = (".json", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class _Key:
    """For what a reply may be used again: the same provider, the same asker, and the same images."""

    provider: Provider
    asker: str
    images: str


class Providers:
    """The providers of the CredentialProviderConfig that the settings name: a file, or a directory of such files.

    It is read again when it changes. All that ask the same while a program runs wait for that one run.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Credentials],
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._clock = clock
        self._flights: Flights[_Key, Reply] = Flights(Pool("provider", _AT_ONCE), outlives_callers=True)
        self._lock = Lock()
        self._kept: dict[_Key, tuple[float, Reply]] = {}
        self._failed: dict[_Key, tuple[float, str]] = {}
        self._read: tuple[object, tuple[Provider, ...], str] = ((), (), "")

    def for_node(self) -> "ProvidersFor":
        """What the node itself gets, from providers that do not have to know whose pod it is."""
        return ProvidersFor(self, None)

    def for_account(self, account: ServiceAccount) -> "ProvidersFor":
        """What a service account gets from the providers that want its token."""
        return ProvidersFor(self, account)

    def matching(self, host: str, repository: str) -> tuple[tuple[Provider, ...], str]:
        """The providers to ask about a repository, and what is wrong with the configuration, if something is."""
        providers, trouble = self._current()
        return tuple(each for each in providers if each.matches(host, repository)), trouble

    def ask(self, provider: Provider, question: Question, asker: str, holder: str) -> Reply:
        """The provider's reply, from its last run or from a new one; raises as `provider.ask` does."""
        registry = question.image.partition("/")[0]
        with self._lock:
            for images in (question.image, registry, ""):
                until, reply = self._kept.get(_Key(provider, asker, images), (0.0, None))
                if reply and self._clock() < until:
                    return reply
        key = _Key(provider, asker, question.image)
        self._check(key)
        patience = Deadline.after(2 * self._settings().program_timeout_in_seconds)
        try:
            reply = self._flights.join(key, lambda _: self._run(provider, question, holder), Wait(patience))
        except TimeoutError:
            raise ValueError(f"{provider.name} has not been run in time") from None
        except (ProgramFailed, ValueError) as error:
            with self._lock:
                self._failed[key] = (self._clock() + _FAILED, str(error))
            raise
        images = {"Image": question.image, "Registry": registry, "Global": ""}[reply.scope]
        self._keep(_Key(provider, asker, images), reply)
        return reply

    def _check(self, key: _Key) -> None:
        """Raise again what went wrong a moment ago: one pull asks several times, and a program may take its time."""
        with self._lock:
            now = self._clock()
            self._failed = {each: failed for each, failed in self._failed.items() if failed[0] > now}
            if key in self._failed:
                raise ValueError(self._failed[key][1])

    def _run(self, provider: Provider, question: Question, holder: str) -> Reply:
        settings = self._settings()
        return ask(
            provider,
            question,
            holder=holder,
            directory=settings.image_credential_provider_bin_dir,
            environ=self._environ,
            timeout=settings.program_timeout_in_seconds,
        )

    def _keep(self, key: _Key, reply: Reply) -> None:
        if reply.keep <= 0:
            return
        now = self._clock()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now}
            while len(self._kept) >= _MOST_REPLIES:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (now + reply.keep, reply)

    def _current(self) -> tuple[tuple[Provider, ...], str]:
        """The providers of the configuration as it is now, or none and why."""
        named = self._settings().image_credential_provider_config
        if not named:
            return (), ""
        try:
            paths = _files(Path(named))
            identity = tuple((path, _identity(path)) for path in paths)
            if identity != self._read[0] or not identity:
                providers = tuple(provider for path in paths for provider in _parsed(path))
                self._read = (identity, providers, "")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            trouble = f"the credential provider configuration {named} cannot be used: {reason}"
            if self._read[2] != trouble:
                log.warning("the credential providers cannot be used", config=named, reason=reason)
            self._read = ((), (), trouble)
        return self._read[1], self._read[2]


class ProvidersFor:
    """The providers as a source of credentials, for one service account or for the node."""

    def __init__(self, providers: Providers, account: ServiceAccount | None) -> None:
        self._providers = providers
        self._account = account

    def find(self, host: str, repository: str) -> Found:
        wanted, trouble = self._matching(host, repository)
        found = Found(troubles=(trouble,) if trouble else ())
        for provider in wanted:
            try:
                told = self._ask(provider, host, repository)
            except (DriverError, ProgramFailed, ValueError) as error:
                told = Found(troubles=(f"credential provider {provider.name}: {error}",))
            found = Found(found.credentials + told.credentials, found.troubles + told.troubles)
        return found

    def holder(self, host: str, repository: str) -> str | None:
        if self._account is None:
            return NODE
        return self._account.holder if self._matching(host, repository)[0] else None

    def plain_http(self, _host: str) -> bool:
        return False

    def _matching(self, host: str, repository: str) -> tuple[tuple[Provider, ...], str]:
        """The providers that want the account's token; or of the node those that do not need one."""
        matching, trouble = self._providers.matching(host, repository)
        if self._account is None:
            return tuple(each for each in matching if each.token is None or not each.token.required), trouble
        return tuple(each for each in matching if each.token is not None), trouble

    def _ask(self, provider: Provider, host: str, repository: str) -> Found:
        image = f"{host}/{repository}"
        if self._account is None:
            reply = self._providers.ask(provider, Question(image), NODE, NODE)
        else:
            question, asker = _on_behalf(self._account, provider, image)
            holder = self._account.holder if question.token else NODE
            reply = self._providers.ask(provider, question, asker, holder)
        return Found(matching(reply.entries, host, repository))


def _on_behalf(account: ServiceAccount, provider: Provider, image: str) -> tuple[Question, str]:
    """The question with all that the provider wants to know of the account, and for whom its reply may be used again.

    Raises `ValueError` when something is missing that the provider requires, and what looking up annotations raises.
    """
    wanted = provider.token
    if wanted is None:
        return Question(image), NODE
    token = account.tokens.get(wanted.audience, "")
    if not token and wanted.required:
        raise ValueError(
            f"kubelet gave no token for the audience {wanted.audience!r}: add it to tokenRequests of the CSIDriver"
        )
    if not token:
        return Question(image), NODE
    annotations: tuple[tuple[str, str], ...] = ()
    if wanted.required_annotations or wanted.optional_annotations:
        known = account.annotations()
        missing = [key for key in wanted.required_annotations if key not in known]
        if missing:
            raise ValueError(
                f"service account {account.namespace}/{account.name} has no annotation {', '.join(missing)}"
            )
        keys = (*wanted.required_annotations, *wanted.optional_annotations)
        annotations = tuple(sorted((key, known[key]) for key in set(keys) if key in known))
    asker = account.holder if wanted.per_account else hashlib.sha256(token.encode()).hexdigest()
    return Question(image, token, annotations), f"{asker} {annotations}"


def _files(path: Path) -> list[Path]:
    """The file, or those of a directory in the order of their names."""
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
    return [path]


def _identity(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _parsed(path: Path) -> tuple[Provider, ...]:
    try:
        return parse_config(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
