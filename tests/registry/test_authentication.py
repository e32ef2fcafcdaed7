"""Getting in: as nobody, by Basic and by Bearer, and what happens when the registry changes its mind."""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from csi_driver.errors import AccessDenied, DriverError, NotFound, Unauthenticated, Unavailable
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain import Keychain
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, descriptor, read_all, user

FILES = {"config.json": b"{}"}


def keychain_of(registry: EmbeddedRegistry, entry: str) -> Keychain:
    return Keychain.from_secrets({".dockerconfigjson": f'{{"auths": {{"{registry.host}": {entry}}}}}'}, registry.host)


def test_basic_is_answered_after_the_registry_asked_for_it(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "hunter2"}) as registry:
        digest = registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
        assert str(repository.manifest("v1").digest) == digest
        repository.manifest("v1")
        sent = ["authorization" in seen.headers for seen in registry.requests]
    assert sent == [False, True, True]


def test_r4_a_bearer_token_is_fetched_once_and_used_for_blobs_too(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}) as registry:
        digest = registry.push_model("team/model", "v1", FILES)
        blob = registry.put_blob(CONTENT)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
        assert str(repository.manifest("v1").digest) == digest
        assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT
        (token,) = registry.seen(server="tokens")
    assert token.method == "GET"
    assert token.query == {"service": "embedded-registry", "scope": "repository:team/model:pull"}


def test_r4_odd_challenges_lead_to_a_token(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}) as registry:
        registry.access.challenges = lambda repository, _: [
            "Negotiate",
            f'BEARER realm={registry.access.realm}, scope="repository:{repository}:pull,push" ,service=embedded',
        ]
        digest = registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
        assert str(repository.manifest("v1").digest) == digest


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_r5_a_bare_challenge_and_a_bare_token_are_enough(client: Client, field: str) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}, expires_in=None) as registry:
        registry.access.challenges = lambda *_: [f'Bearer realm="{registry.access.realm}?account=x"']
        registry.access.token_field = field
        registry.push_model("team/model", "v1", FILES)
        client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2")).manifest("v1")
        token = registry.seen(server="tokens")[0]
    assert token.query == {"account": "x", "scope": "repository:team/model:pull"}


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("repository:team/model:pull", "repository:team/model:pull"),
        ("repository:team/model:pull,push", "repository:team/model:pull,push"),
        ("repository:cache/team/model:pull", "repository:cache/team/model:pull"),
        ("registry:catalog:* repository:team/model:pull", "registry:catalog:* repository:team/model:pull"),
        ("repository:my-team/model:pull", "repository:team/model:pull"),
        ("repository:team/model-2:pull", "repository:team/model:pull"),
        ("repository:team/model:push", "repository:team/model:pull"),
        ("repository:user/image:pull", "repository:team/model:pull"),
        ("aws", "repository:team/model:pull"),
        ("", "repository:team/model:pull"),
    ],
)
def test_r5_a_scope_that_is_about_something_else_is_not_asked_for(client: Client, told: str, asked: str) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        registry.access.challenges = lambda *_: [f'Bearer realm="{registry.access.realm}",scope="{told}"']
        registry.faults.add(Fault(status=200, body=b'{"token": "x"}'), server="tokens")
        with suppress(DriverError):
            client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2")).manifest("v1")
        assert registry.seen(server="tokens")[0].query["scope"] == asked.rpartition(" ")[2]


def test_a_public_repository_gives_tokens_to_anybody(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", grants={"": ["public/*"]}) as registry:
        registry.push_model("public/model", "v1", FILES)
        client.repository(registry.reference("public/model", "v1")).manifest("v1")
        assert "authorization" not in registry.seen(server="tokens")[0].headers


def test_an_identity_token_is_exchanged_by_post(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "x"}, identity_tokens={"hunter2": "ann"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        keychain = keychain_of(registry, '{"identitytoken": "hunter2"}')
        client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")
        (token,) = registry.seen(server="tokens")
    assert token.method == "POST"
    assert "authorization" not in token.headers


@pytest.mark.parametrize("status", [404, 405])
def test_an_identity_token_goes_by_get_where_post_is_unknown(client: Client, status: int) -> None:
    with EmbeddedRegistry(auth="bearer", users={"<token>": "hunter2"}) as registry:
        registry.access.post_status = status
        registry.push_model("team/model", "v1", FILES)
        keychain = keychain_of(registry, '{"identitytoken": "hunter2"}')
        client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")
        assert [seen.method for seen in registry.seen(server="tokens")] == ["POST", "GET"]


def test_a_registry_token_goes_out_as_it_is(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "x"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        registry.access.allow_token("hunter2", "ann", "team/model")
        keychain = keychain_of(registry, '{"registrytoken": "hunter2"}')
        client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")
        assert registry.count(server="tokens") == 0


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_r18_the_next_credential_is_tried_when_one_is_wrong(client: Client, auth: str) -> None:
    with EmbeddedRegistry(auth=auth, users={"ann": "right"}) as registry:  # type: ignore[arg-type]
        registry.push_model("team/model", "v1", FILES)
        keychain = user("ann", "wrong").then(user("ann", "right"))
        client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")


@pytest.mark.parametrize("refusal", [401, 403])
def test_r18_the_next_credential_is_tried_when_one_may_not(client: Client, refusal: int) -> None:
    with EmbeddedRegistry(
        auth="bearer", users={"ann": "a", "bob": "b"}, grants={"ann": ["other/*"], "bob": ["team/*"]}
    ) as registry:
        registry.access.refusal = refusal
        registry.push_model("team/model", "v1", FILES)
        keychain = user("ann", "a").then(user("bob", "b"))
        client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")


def test_the_nodes_credentials_come_after_the_pods(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"node": "n"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        reference = registry.reference("team/model", "v1")
        client.repository(reference, user("pod", "p"), node_keychain=user("node", "n")).manifest("v1")
        assert registry.count() == 3


def test_who_has_no_credentials_is_told_where_they_go(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        with pytest.raises(Unauthenticated) as caught:
            client.repository(registry.reference("team/model", "v1")).manifest("v1")
        assert f"registry {registry.host} wants credentials for team/model" in str(caught.value)
        assert "UNAUTHORIZED: authentication required" in str(caught.value)
        assert "nodePublishSecretRef" in str(caught.value)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_password_is_told_without_it(client: Client, auth: str) -> None:
    with EmbeddedRegistry(auth=auth, users={"ann": "right"}) as registry:  # type: ignore[arg-type]
        echo = b'{"errors": [{"code": "DENIED", "message": "no user with hunter2"}]}'
        registry.faults.add(Fault(status=401, body=echo), server="tokens")
        with pytest.raises(Unauthenticated) as caught:
            client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2")).manifest("v1")
    assert "does not accept the credentials found for team/model" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("status", [400, 403, 404, 503])
def test_a_registry_that_echoes_what_it_was_sent_is_told_without_it(
    client: Client, auth: Literal["basic", "bearer"], status: int
) -> None:
    client.patience = 0.0
    with EmbeddedRegistry(auth=auth, users={"ann": 'hunter"2/'}) as registry:
        registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", 'hunter"2/'))
        repository.manifest("v1")
        sent = registry.requests[-1].headers["authorization"].partition(" ")[2]
        echo = json.dumps({"errors": [{"code": f"got {sent}", "message": 'ann:hunter"2/'}]}).encode()
        registry.faults.add(Fault(status=status, body=echo), path="/v2/*/manifests/*")
        with pytest.raises(DriverError, match=rf"answered {status} \(got \*\*\*: ann:\*\*\*\)") as caught:
            repository.manifest("v1")
    assert sent not in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_warning_that_echoes_what_was_sent_is_logged_without_it(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "hunter2"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
        repository.manifest("v1")
        sent = registry.requests[-1].headers["authorization"].partition(" ")[2]
        registry.faults.add(Fault(headers={"Warning": f'299 - "ann:hunter2 as {sent}"'}), path="/v2/*/manifests/*")
        repository.manifest("v1")
    assert [getattr(record, "fields", {}).get("warning") for record in caplog.records] == ["ann:*** as ***"]


def test_of_a_long_secret_that_is_echoed_not_even_the_beginning_is_told(client: Client) -> None:
    secret = "eyJ" + "x" * 1000
    with EmbeddedRegistry(auth="bearer") as registry:
        registry.faults.add(Fault(status=401, body=f"wrong: {secret}".encode()), server="tokens", method="*")
        keychain = keychain_of(registry, json.dumps({"identitytoken": secret}))
        with pytest.raises(Unauthenticated, match=r"answered 401 \(wrong: \*\*\*\)") as caught:
            client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")
    assert "eyJ" not in str(caught.value)


def test_a_credential_that_is_no_text_is_passed_over(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "a"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        entries = ['{"username": "ann", "password": "\\ud800"}', '{"identitytoken": "\\udfff"}']
        for entry in entries:
            keychain = keychain_of(registry, entry).then(user("ann", "a"))
            client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")


def test_what_is_for_everybody_is_read_although_the_credentials_have_expired(client: Client) -> None:
    grants = {"": ["public/*"], "ann": ["*"]}
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants=grants) as registry:
        registry.push_model("public/model", "v1", FILES)
        expired = user("ann", "expired").then(user("bob", "gone"))
        fetched = client.repository(registry.reference("public/model", "v1"), expired).manifest("v1")
        assert fetched.reader is None
        assert registry.count(server="tokens") == 3


@pytest.mark.parametrize("expires_in", [300, 1e-9])
def test_nobody_s_token_that_expires_is_replaced_by_another(client: Client, expires_in: float) -> None:
    grants = {"": ["public/*"], "ann": ["*"]}
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants=grants, expires_in=expires_in) as registry:
        registry.push_model("public/model", "v1", FILES)
        repository = client.repository(registry.reference("public/model", "v1"), user("ann", "expired"))
        for _ in range(3):
            assert repository.manifest("v1").reader is None
            registry.access.revoke_tokens()
        registry.access.grants.clear()
        with pytest.raises(Unauthenticated, match="incorrect username or password"):
            repository.manifest("v1")


def test_a_token_service_that_is_busy_when_nobody_s_token_expires_is_asked_again(client: Client) -> None:
    grants = {"": ["public/*"], "ann": ["*"]}
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants=grants) as registry:
        registry.push_model("public/model", "v1", FILES)
        repository = client.repository(registry.reference("public/model", "v1"), user("ann", "expired"))
        repository.manifest("v1")
        registry.access.revoke_tokens()
        registry.faults.add(Fault(status=503), server="tokens", times=2)
        repository.manifest("v1")
    assert client.sleeps == [0.5, 1.0]


@pytest.mark.parametrize("hides", [None, 403, 404])
def test_who_is_not_let_in_with_expired_credentials_is_told_of_these(client: Client, hides: int | None) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        if hides:
            registry.faults.add(
                Fault(status=hides), path="*/manifests/*", when=lambda seen: "authorization" in seen.headers
            )
        with pytest.raises(Unauthenticated, match=r"does not accept the credentials.*incorrect username or pass"):
            client.repository(registry.reference("team/model", "v1"), user("ann", "expired")).manifest("v1")


def test_that_one_credential_may_not_is_told_before_that_another_is_wrong(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants={"ann": []}) as registry:
        registry.access.refusal = 403
        keychain = user("ann", "a").then(user("bob", "gone"))
        with pytest.raises(AccessDenied, match="requested access to the resource is denied"):
            client.repository(registry.reference("team/model", "v1"), keychain).manifest("v1")


def test_a_known_user_without_rights_is_denied(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants={"ann": []}) as registry:
        registry.access.refusal = 403
        with pytest.raises(AccessDenied, match=r"403 \(DENIED: requested access to the resource is denied\)"):
            client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")


def test_r6_a_token_that_expires_in_the_middle_is_replaced_once(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        blob = registry.put_blob(CONTENT)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        source = repository.blob(descriptor(blob, len(CONTENT)))
        registry.faults.add(Fault(drop_after=700_000, then=registry.access.revoke_tokens), path="*/blobs/*")
        buffer = memoryview(bytearray(1 << 20))
        with source.open() as body:
            count = body.readinto(buffer)
        assert read_all(source, count) == CONTENT[count:]
        assert registry.count(server="tokens") == 2


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_password_that_is_replaced_in_the_middle_is_read_again(
    client: Client, tmp_path: Path, auth: Literal["basic", "bearer"]
) -> None:
    config = tmp_path / "config.json"
    with EmbeddedRegistry(auth=auth, users={"ann": "first"}) as registry:

        def replace_password(word: str) -> None:
            registry.access.users["ann"] = word
            registry.access.revoke_tokens()
            config.write_text(json.dumps({"auths": {registry.host: {"username": "ann", "password": word}}}))

        replace_password("first")
        blob = registry.put_blob(CONTENT)
        reference = registry.reference("team/model", "v1")
        repository = client.repository(reference, node_keychain=Keychain.from_docker_config(config))
        source = repository.blob(descriptor(blob, len(CONTENT)))
        registry.faults.add(Fault(drop_after=700_000, then=lambda: replace_password("second")), path="*/blobs/*")
        buffer = memoryview(bytearray(1 << 20))
        with source.open() as body:
            count = body.readinto(buffer)
        assert read_all(source, count) == CONTENT[count:]
        registry.access.users["ann"] = "third, which nobody is told"
        registry.access.revoke_tokens()
        with pytest.raises(Unauthenticated):
            source.open(0, None)


def test_a_token_near_its_end_is_replaced_before_it_is_refused(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, expires_in=1e-9) as registry:
        registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        repository.manifest("v1")
        registry.forget_requests()
        repository.manifest("v1")
        assert [seen.server for seen in registry.requests] == ["tokens", "registry"]


def test_r6_connections_that_are_refused_together_share_one_new_token(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        blob = registry.put_blob(CONTENT)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        source = repository.blob(descriptor(blob, len(CONTENT)))
        assert read_all(source, 0, 10) == CONTENT[:10]
        registry.access.revoke_tokens()
        threads = [threading.Thread(target=read_all, args=(source, 10 * part, 10 * part + 10)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert registry.count(server="tokens") == 2


def test_r7_a_fresh_token_that_is_refused_ends_it(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        blob = registry.put_blob(CONTENT)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        source = repository.blob(descriptor(blob, len(CONTENT)))
        assert read_all(source) == CONTENT
        registry.access.grants.clear()
        registry.access.revoke_tokens()
        registry.forget_requests()
        with pytest.raises(Unauthenticated):
            source.open()
        assert registry.count(server="tokens") == 1
        assert registry.count(path="*/blobs/*") == 2


def test_after_a_refusal_the_next_request_starts_anew(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}, grants={}) as registry:
        registry.push_model("team/model", "v1", FILES)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        with pytest.raises(Unauthenticated):
            repository.manifest("v1")
        registry.access.grants["ann"] = ["*"]
        repository.manifest("v1")


@pytest.mark.parametrize("status", [403, 404])
def test_a_registry_that_hides_what_is_private_is_asked_for_its_challenge(client: Client, status: int) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.access.hides = status
        registry.push_model("team/model", "v1", FILES)
        client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")
        assert registry.count("GET", "/v2/") == 1


def test_a_registry_that_is_too_busy_to_say_what_it_hides_is_asked_again(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.access.hides = 404
        registry.push_model("team/model", "v1", FILES)
        registry.faults.add(Fault(status=503), path="/v2/", times=2)
        client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")
    assert client.sleeps == [0.5, 1.0]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_registry_that_hides_what_a_credential_may_not_read_is_asked_with_the_next(
    client: Client, auth: Literal["basic", "bearer"]
) -> None:
    users = {"bob": "b", "ann": "a"}
    with EmbeddedRegistry(auth=auth, users=users, grants={"ann": ["team/*"]}) as registry:
        registry.access.refusal = 404
        registry.push_model("team/model", "v1", FILES)
        bob, ann, eve = (user(name, word) for name, word in (*users.items(), ("eve", "guess")))
        reference = registry.reference("team/model", "v1")
        repository = client.repository(reference, bob.then(ann))
        assert repository.manifest("v1").reader == Credential("ann", "a")
        with pytest.raises(NotFound):
            repository.manifest("v2")
        assert repository.manifest("v1").reader == Credential("ann", "a")
        for keychain in (bob, bob.then(eve), ann.then(bob)):
            with pytest.raises(NotFound, match="answered 404"):
                client.repository(reference, keychain).manifest("v1" if keychain is bob else "v3")


def test_nobody_in_particular_reads_what_is_for_everybody(client: Client, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", FILES)
    reference = registry.reference("team/model", "v1")
    assert client.repository(reference, user("ann", "a")).manifest("v1").reader is None


def test_a_token_for_nobody_in_particular_is_nobody_s(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"": ""}, grants={"": ["*"]}) as registry:
        registry.push_model("team/model", "v1", FILES)
        assert client.repository(registry.reference("team/model", "v1")).manifest("v1").reader is None


def test_a_registry_that_wants_nothing_gets_nothing(client: Client, registry: EmbeddedRegistry) -> None:
    repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
    for _ in range(2):
        with pytest.raises(NotFound):
            repository.manifest("v1")
    assert registry.count("GET", "/v2/") == 1
    assert not any("authorization" in seen.headers for seen in registry.requests)


def test_a_401_without_a_way_is_told(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.access.challenges = lambda *_: ("Negotiate abc==",)
        with pytest.raises(Unauthenticated, match="it wants 'negotiate' authentication"):
            client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")


def test_a_busy_token_service_is_asked_again(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        registry.faults.add(Fault(status=503), server="tokens", times=2)
        client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")
        assert client.sleeps == [0.5, 1.0]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nb"}', b'{"token": ""}'])
def test_a_token_service_without_tokens_is_unavailable(client: Client, body: bytes) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.faults.add(Fault(status=200, body=body), server="tokens")
        with pytest.raises(Unavailable, match=r"/token answered without a token"):
            client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")


def test_r8_credentials_do_not_go_to_a_realm_that_is_not_to_be_trusted(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.access.challenges = lambda *_: ['Bearer realm="http://169.254.169.254/latest?x=hunter3"']
        with pytest.raises(Unauthenticated) as caught:
            client.repository(registry.reference("team/model", "v1"), user("ann", "a")).manifest("v1")
    assert "http://169.254.169.254/latest' as its token service, which is refused" in str(caught.value)
    assert "hunter3" not in str(caught.value)
