"""Artifacts as producers make them, and as they should not: each with what has to become of it.

The letters and numbers name the cases where several tests speak of the same one.
"""

import hashlib
import json
import os
from pathlib import Path

from csi_driver.errors import NotFound, UnsupportedArtifact
from csi_driver.oci.digest import EMPTY_DIGEST
from tests.driver.vectors.world import MODELPACK, Build, Catalogue, Check, Json, World
from tests.fixtures.faults import Fault
from tests.fixtures.models import INDEX_TYPE, MANIFEST_TYPE
from tests.fixtures.producers import (
    DOCKER_AI,
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    FILEPATH,
    KIT,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_TAR,
    OLLAMA,
    TITLE,
    UNPACK,
    archive,
    kit_of,
    push,
    push_kit,
)
from tests.transfer.archives import END, gzipped, header, member

ARTIFACTS = Catalogue()
mounts, refuses = ARTIFACTS.mounts, ARTIFACTS.refuses

CNAI = "application/vnd.cnai.model"
METADATA = "org.cncf.model.file.metadata+json"


def metadata(**changes: object) -> str:
    return json.dumps({"name": "w.bin", "mode": 0o644, "uid": 1000, "gid": 1000, "size": 1, "typeflag": 0, **changes})


def _is_readable_by_all_and_roots(world: World, target: Path) -> None:
    status = (target / "a/b/c.json").stat()
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o444, 1_700_000_000)
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@mounts("A1", {"a/b/c.json": b"{}"}, check=_is_readable_by_all_and_roots)
def a_private_file_of_modctl_becomes_readable(world: World) -> str:
    notes = metadata(name="c.json", mode=0o600, size=2, mtime="2023-11-14T22:13:20Z")
    return world.modelpack(world.raw("a/b/c.json", b"{}", **{METADATA: notes}))


@mounts("A2", {"w.bin": b"w"})
def all_names_of_the_older_namespace(world: World) -> str:
    notes = {"org.cnai.model.filepath": "w.bin"}
    one = world.layer(f"{CNAI}.weight.v1.raw", b"w", annotations=notes)
    return world.modelpack(one, artifact_type=f"{CNAI}.manifest.v1+json", config_type=f"{CNAI}.config.v1+json")


@mounts("A3", {"w.bin": b"w", "v.bin": b"v"})
def both_namespaces_mixed(world: World) -> str:
    one = world.layer(f"{CNAI}.weight.v1.raw", b"w", annotations={FILEPATH: "w.bin"})
    two = world.layer(f"{MODELPACK}.weight.v1.raw", b"v", annotations={"org.cnai.model.filepath": "v.bin"})
    return world.modelpack(one, two)


@mounts("A4", {"m.gguf": b"GGUF"})
def an_empty_configuration_and_titles_that_are_digests(world: World) -> str:
    notes = {FILEPATH: "m.gguf", TITLE: "sha256-0123456789"}
    return world.modelpack(world.layer("text/plain; charset=utf-8", b"GGUF", annotations=notes), config_type=OCI_EMPTY)


def _configured(blob: bytes) -> Build:
    def a_configuration_that_says_nothing_of_use(world: World) -> str:
        return world.modelpack(world.raw("w.bin", b"w"), config=blob)

    return a_configuration_that_says_nothing_of_use


for blob in (b"{}", b'{"modelfs":{"type":"layers","diffIds":null}}', b'{"surprise":[{}]}', b"no JSON at all"):
    mounts("A5", {"w.bin": b"w"})(_configured(blob))


def _configuration_was_not_asked_for(world: World, target: Path) -> None:
    assert world.registry.count(path=f"*/blobs/{world.notes['config']}") == 0


@mounts("A5", {"w.bin": b"w"}, check=_configuration_was_not_asked_for)
def a_configuration_too_large_to_be_one(world: World) -> str:
    world.notes["config"] = f"sha256:{'5' * 64}"
    document = {
        "schemaVersion": 2,
        "artifactType": f"{MODELPACK}.manifest.v1+json",
        "config": {"mediaType": f"{MODELPACK}.config.v1+json", "digest": world.notes["config"], "size": 50 << 20},
        "layers": [world.raw("w.bin", b"w")],
    }
    return world.manifest(json.dumps(document).encode())


@mounts("A6", {"w.bin": b"w"})
def only_the_configuration_says_what_it_is(world: World) -> str:
    return world.modelpack(world.raw("w.bin", b"w"), artifact_type=None)


@refuses("A7", "sha256:.*name|name.*sha256:")
def a_raw_layer_without_any_name(world: World) -> str:
    return world.modelpack(world.raw("w.bin", b"w"), world.raw(None, b"nameless"))


@mounts("A8", {"models/x": b"x"})
def an_archive_without_a_path(world: World) -> str:
    return world.modelpack(world.tar(archive({"models/x": b"x"})))


@mounts("A9", {"deep/er/w.bin": b"w"})
def one_file_in_an_archive_under_a_shorter_name(world: World) -> str:
    return world.modelpack(world.tar(archive({"w.bin": b"w"}), "deep/er/w.bin"))


@mounts("A10", {"a.json": b"a", "b.json": b"b"})
def several_files_in_an_archive_with_a_label(world: World) -> str:
    return world.modelpack(world.tar(archive({"a.json": b"a", "b.json": b"b"}, "tar+zstd"), "config", "tar+zstd"))


def _kit_archive(path: str) -> bytes:
    return header(f"{path}/", b"5", mode=0o755) + member(f"{path}/w.bin", b"w") + member(f"{path}/v.bin", b"v") + END


@mounts("A11", {"models/w.bin": b"w", "models/v.bin": b"v"})
def a_directory_whose_path_is_its_name_in_the_archive(world: World) -> str:
    return world.modelpack(world.tar(_kit_archive("models"), "models"))


@mounts("A11", {"w.bin": b"w", "v.bin": b"v"})
def a_directory_whose_path_is_the_root(world: World) -> str:
    return world.modelpack(world.tar(_kit_archive("."), "."))


@mounts("A12", {"sub/w.bin": b"w"})
def one_file_in_an_archive_under_its_whole_path(world: World) -> str:
    return world.modelpack(world.tar(archive({"sub/w.bin": b"w"}), "sub/w.bin"))


@mounts("A13", {"w.bin": b"w", "odd.dat": b"odd"})
def layers_of_unknown_types_with_a_path_and_without(world: World) -> str:
    named = world.layer("application/vnd.acme.thing", b"odd", annotations={FILEPATH: "odd.dat"})
    return world.modelpack(world.raw("w.bin", b"w"), named, world.layer("application/vnd.acme.thing", b"nameless"))


@refuses("A13", "no files")
def nothing_but_a_layer_of_unknown_type_without_a_path(world: World) -> str:
    return world.modelpack(world.layer("application/vnd.acme.thing", b"nameless"))


@mounts("A14", {"m.gguf": b"GGUF", "n.bin": b"n"})
def media_types_with_parameters_capitals_and_formats(world: World) -> str:
    one = world.layer(f"{MODELPACK}.weight.v1.gguf", b"GGUF", annotations={FILEPATH: "m.gguf"})
    two = world.layer("Application/vnd.CNCF.model.weight.v1.RAW; x=y", b"n", annotations={FILEPATH: "n.bin"})
    return world.modelpack(one, two)


@mounts("A14", {"m.gguf": b"GGUF", "Kitfile": None})
def a_compressed_file_of_a_kit(world: World) -> str:
    one = world.layer(f"{KIT}.model.v1.raw+gzip", gzipped(b"GGUF"), annotations={TITLE: "m.gguf"})
    return push_kit(world.registry, "team/model:v1", {"model": {"path": "m.gguf", "digest": one["digest"]}}, [one])


@mounts("A15", {"w.bin": b"w"})
def layers_that_are_no_files(world: World) -> str:
    bootstrap = {"containerd.io/snapshot/nydus-bootstrap": "true"}
    return world.modelpack(
        world.raw("w.bin", b"w"),
        world.layer(f"{OCI_TAR}+gzip", b"bootstrap", annotations=bootstrap),
        world.layer(OCI_EMPTY, b"{}"),
        world.layer("application/vnd.in-toto+json", b"{}"),
    )


@refuses("A16", "no files")
def no_layers(world: World) -> str:
    return world.modelpack()


@refuses("A16", "layers|no files")
def layers_that_are_null(world: World) -> str:
    config = {"mediaType": f"{MODELPACK}.config.v1+json", "digest": str(EMPTY_DIGEST), "size": 0}
    return world.manifest(json.dumps({"schemaVersion": 2, "config": config, "layers": None}).encode())


def _came_once(world: World, target: Path) -> None:
    assert world.registry.count("GET", f"*/blobs/{world.notes['digest']}") == 1


@mounts("A17", {"a.bin": b"same", "b.bin": b"same"}, check=_came_once)
def one_content_under_two_names(world: World) -> str:
    one = world.raw("a.bin", b"same")
    world.notes["digest"] = one["digest"]
    return world.modelpack(one, world.raw("b.bin", b"same"))


@mounts("A18", {"a.bin": b"same"})
def one_layer_twice(world: World) -> str:
    return world.modelpack(world.raw("a.bin", b"same"), world.raw("a.bin", b"same"))


@refuses("A19", "sha256:.*sha256:")
def one_name_for_two_contents(world: World) -> str:
    return world.modelpack(world.raw("a.bin", b"one"), world.raw("a.bin", b"two"))


@refuses("A20", "file and a directory")
def a_file_that_is_a_directory_too(world: World) -> str:
    return world.modelpack(world.raw("a", b"file"), world.raw("a/b", b"below it"))


@refuses("A20", "file and a directory")
def a_directory_that_is_a_file_too(world: World) -> str:
    return world.modelpack(world.raw("a/b", b"below it"), world.raw("a", b"file"))


@mounts("A21", {"A.txt": b"large", "a.txt": b"small"})
def names_that_differ_in_their_case(world: World) -> str:
    return world.modelpack(world.raw("A.txt", b"large"), world.raw("a.txt", b"small"))


@mounts("A22", {"a/c": b"x"})
def a_path_that_wants_cleaning(world: World) -> str:
    return world.modelpack(world.raw("./a//b/../c", b"x"))


def _at(path: str) -> Build:
    def a_path_that_no_file_can_have(world: World) -> str:
        return world.modelpack(world.raw("good", b"x"), world.raw(path, b"x"))

    return a_path_that_no_file_can_have


for path in ("../x", "a/../../x"):
    refuses("A23", "leads out|outside|above|\\.\\.")(_at(path))
for path in ("/etc/x", "", ".", "..", "dir/", "nul\0inside"):
    refuses("A24", "path|name")(_at(path))

STRANGE = ["caf\u00e9", "cafe\u0301", "two\nlines", "back\\slash", "-rf", "🤖", "x" * 255]


@mounts("A25", {name: name.encode() for name in STRANGE})
def names_that_tools_stumble_over(world: World) -> str:
    return world.modelpack(*(world.raw(name, name.encode()) for name in STRANGE))


refuses("A25", "255|too long|long")(_at("x" * 256))


def _described(**changes: object) -> Build:
    def metadata_that_is_wrong_in_parts(world: World) -> str:
        return world.modelpack(world.raw("w.bin", b"w", **{METADATA: metadata(**changes)}))

    return metadata_that_is_wrong_in_parts


def _has(mode: int, mtime_ns: int | None = None) -> Check:
    def check(world: World, target: Path) -> None:
        status = (target / "w.bin").stat()
        assert status.st_mode & 0o7777 == mode
        assert mtime_ns is None or status.st_mtime_ns == mtime_ns

    return check


for changes, mode, mtime_ns in (
    ({"mode": 0o4777}, 0o555, None),
    ({"mode": 0}, 0o444, None),
    ({"mtime": "2023-11-15T06:13:20.123456789+08:00"}, 0o444, 1_700_000_000_123_456_789),
    ({"mtime": "0001-01-01T00:00:00Z"}, 0o444, None),
    ({"typeflag": 48}, 0o444, None),
    ({"size": 2}, 0o444, None),
):
    mounts("A26", {"w.bin": b"w"}, check=_has(mode, mtime_ns))(_described(**changes))
refuses("A26", "typeflag|link|regular")(_described(typeflag=50))


@mounts("A26", {"w.bin": b"w"})
def metadata_that_is_no_json(world: World) -> str:
    return world.modelpack(world.raw("w.bin", b"w", **{METADATA: "{"}))


def _nothing_was_asked_for(world: World, target: Path) -> None:
    assert world.registry.count(path=f"*/blobs/{EMPTY_DIGEST}") == 0


@mounts("A27", {"empty": b"", "w.bin": b"w"}, check=_nothing_was_asked_for)
def an_empty_file(world: World) -> str:
    return world.modelpack(world.raw("empty", b""), world.raw("w.bin", b"w"))


def _connections_were_few(world: World, target: Path) -> None:
    assert sum(1 for path in target.rglob("*") if path.is_file()) == 10_000
    assert world.registry.connections() < 100


@mounts("A28", check=_connections_were_few)
def ten_thousand_layers(world: World) -> str:
    contents = [world.raw("", b"%d" % number) for number in range(100)]
    layers: list[Json] = []
    for number in range(10_000):
        name = f"{number // 100:03}/{'long-name-' * 12}{number:05}"
        layers.append({**contents[number % 100], "annotations": {FILEPATH: name}})
    return world.modelpack(*layers)


@refuses("A29", "MiB|bytes|large")
def a_manifest_of_nine_mebibytes(world: World) -> str:
    return world.modelpack(world.raw("w.bin", b"w", note="x" * (9 << 20)))


@refuses("A29", "MiB|bytes|large")
def a_manifest_without_end(world: World) -> str:
    reference = world.modelpack(world.raw("w.bin", b"w"))
    world.registry.faults.add(Fault(endless=True), path="*/manifests/*", times=99)
    return reference


def _said(text: str) -> Build:
    def a_manifest_that_is_not_sound_json(world: World) -> str:
        one = json.dumps(world.raw("w.bin", b"w"))
        config = json.dumps({"mediaType": f"{MODELPACK}.config.v1+json", "digest": str(EMPTY_DIGEST), "size": 0})
        return world.manifest(text.replace("LAYER", one).replace("CONFIG", config).encode())

    return a_manifest_that_is_not_sound_json


for text in (
    '{"schemaVersion":2,"config":CONFIG,"layers":[LAYER],"layers":[]}',
    '{"schemaVersion":2,"config":CONFIG,"layers":[LAYER],"x":NaN}',
    '{"schemaVersion":2,"config":CONFIG,"layers":[LAYER],"x":' + "[" * 100_000 + "]" * 100_000 + "}",
    *(
        f'{{"schemaVersion":2,"config":CONFIG,"layers":[{{"mediaType":"x","digest":"{EMPTY_DIGEST}","size":{size}}}]}}'
        for size in ('"1"', "1.5", "-1", str(1 << 63), "true", "null")
    ),
):
    refuses("A30", ".")(_said(text))


def _pointing_to(digest: str) -> Build:
    def a_digest_that_is_none(world: World) -> str:
        one = {**world.raw("w.bin", b"w"), "digest": digest}
        return world.modelpack(one)

    return a_digest_that_is_none


for digest in (f"sha256:{'A' * 64}", "sha256:abc", f"md5:{'0' * 32}", "sha256:../../x", f"blake3:{'0' * 64}"):
    refuses("A31", "digest")(_pointing_to(digest))


@mounts("A32", {"w.bin": b"weights"})
def a_digest_of_sha512(world: World) -> str:
    digest = f"sha512:{hashlib.sha512(b'weights').hexdigest()}"
    world.registry.store.blobs[digest] = b"weights"
    return world.modelpack({**world.raw("w.bin", b"weights"), "digest": digest})


@refuses("A32", "digest")
def a_digest_of_an_algorithm_that_is_not_known(world: World) -> str:
    return world.modelpack({**world.raw("w.bin", b"w"), "digest": f"blake3:{'0' * 64}"})


@refuses("A33", "sha256:", NotFound)
def a_blob_that_is_said_to_be_elsewhere(world: World) -> str:
    url = f"{world.registry.url}/elsewhere"
    world.registry.faults.add(Fault(status=500), path="/elsewhere", times=99)
    return world.modelpack({**world.raw("w.bin", b"w"), "digest": f"sha256:{'7' * 64}", "urls": [url]})


@mounts("A34", {"model.gguf": b"GGUF", "template": b"{{ .Prompt }}"})
def a_model_of_ollama(world: World) -> str:
    layers = [world.layer(f"{OLLAMA}.model", b"GGUF"), world.layer(f"{OLLAMA}.template", b"{{ .Prompt }}")]
    return push(world.registry, "team/model:v1", DOCKER_CONFIG, layers, media_type=DOCKER_MANIFEST)


@mounts("A35", {"model-00001-of-00002.gguf": b"one", "model-00002-of-00002.gguf": b"two"})
def two_shards_of_docker_model_runner(world: World) -> str:
    layers = [world.layer(f"{DOCKER_AI}.gguf.v3", data) for data in (b"one", b"two")]
    return push(world.registry, "team/model:v1", f"{DOCKER_AI}.model.config.v0.1+json", layers)


@mounts("A36", {"dir/w.bin": b"w", "plain.tar": archive({"x": b"x"})})
def a_directory_and_an_archive_of_oras(world: World) -> str:
    unpacked = {TITLE: "dir", UNPACK: "true"}
    one = world.layer(f"{OCI_TAR}+gzip", archive({"dir/w.bin": b"w"}, "tar+gzip"), annotations=unpacked)
    two = world.layer(OCI_TAR, archive({"x": b"x"}), annotations={TITLE: "plain.tar"})
    return push(world.registry, "team/model:v1", OCI_EMPTY, [one, two], artifact_type="application/vnd.acme.model")


@mounts("A37", {"w.gguf": b"w", "c.py": b"c", "Kitfile": None})
def a_kit_that_builds_on_another(world: World) -> str:
    parent = kit_of(world.registry, "team/parent:v1", None, {"w.gguf": b"w"})
    return kit_of(world.registry, "team/model:v1", parent, {"c.py": b"c"})


@refuses("A37", "circle")
def a_kit_that_builds_on_itself(world: World) -> str:
    return kit_of(world.registry, "team/model:v1", world.registry.reference("team/model", "v1"), {"c.py": b"c"})


@refuses("A37", "more than 10")
def a_kit_that_builds_on_eleven(world: World) -> str:
    reference = kit_of(world.registry, "team/kit0:v1", None, {"w.gguf": b"w"})
    for number in range(1, 12):
        reference = kit_of(world.registry, f"team/kit{number}:v1", reference, {f"c{number}.py": b"c"})
    return reference


def _image(world: World, *layers: bytes) -> str:
    blobs = [world.layer(f"{OCI_TAR}+gzip", gzipped(each + END)) for each in layers]
    return push(world.registry, "team/model:v1", OCI_CONFIG, blobs)


@mounts("A38", {"new/w.bin": b"w", "d/c": b"c"})
def an_image_with_whiteouts_and_an_opaque_directory(world: World) -> str:
    return _image(
        world,
        member("bin/sh", b"ELF") + member("models/old", b"old") + member("models/d/a", b"a"),
        member("models/.wh.old", b"")
        + member("models/new/w.bin", b"w")
        + member("models/d/c", b"c")
        + member("models/d/.wh..wh..opq", b""),
    )


@refuses("A39", "bin.*etc|etc.*bin")
def an_image_without_models(world: World) -> str:
    return _image(world, member("bin/sh", b"ELF") + member("etc/passwd", b"root"))


@mounts("A40", {".wh.foo": b"a file", "foo": b"foo"})
def a_name_that_means_removal_only_in_images(world: World) -> str:
    return world.modelpack(world.tar(archive({"foo": b"foo"})), world.tar(archive({".wh.foo": b"a file"})))


def _entry(world: World, data: bytes, **members: object) -> Json:
    """A model of one file, as an index has it."""
    body = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": f"{MODELPACK}.manifest.v1+json",
            "config": world.layer(f"{MODELPACK}.config.v1+json", b"{}"),
            "layers": [world.raw("w.bin", data)],
        }
    ).encode()
    digest = world.registry.put_manifest("team/model", None, body, MANIFEST_TYPE)
    return {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(body), **members}


def _index(world: World, *entries: Json) -> str:
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(entries)}
    return world.manifest(json.dumps(document).encode(), INDEX_TYPE)


def _platform(architecture: str, system: str = "linux") -> Json:
    return {"platform": {"architecture": architecture, "os": system}}


@mounts("A41", {"w.bin": b"amd64"})
def an_index_of_platforms(world: World) -> str:
    attestation = {
        **_platform("unknown", "unknown"),
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    return _index(
        world,
        _entry(world, b"arm64", **_platform("arm64")),
        _entry(world, b"amd64", **_platform("amd64")),
        _entry(world, b"attestation", **attestation),
    )


@mounts("A42", {"w.bin": b"model"})
def an_index_with_a_model_beside_images(world: World) -> str:
    olot = {**_platform("unknown", "unknown"), "annotations": {"io.opendatahub.modelcar.manifest.type": "modelpack"}}
    return _index(world, _entry(world, b"image", **_platform("amd64")), _entry(world, b"model", **olot))


@refuses("A43", "arm64.*riscv64|riscv64.*arm64")
def an_index_without_a_match(world: World) -> str:
    return _index(world, _entry(world, b"1", **_platform("arm64")), _entry(world, b"2", **_platform("riscv64")))


@refuses("A43", "sha256:")
def an_index_with_two_that_match(world: World) -> str:
    return _index(world, _entry(world, b"1"), _entry(world, b"2"))


@refuses("A43", "label='q4_0'.*label='q8_0'")
def an_index_of_two_variants_of_a_kit(world: World) -> str:
    variants = []
    for label in ("q4_0", "q8_0"):
        kit_of(world.registry, "team/kit:v1", None, {"w.gguf": label.encode()})
        body = world.registry.manifest("team/kit", "v1")
        digest = world.registry.put_manifest("team/model", None, body, MANIFEST_TYPE)
        variants.append(
            {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(body), "annotations": {"label": label}}
        )
    return _index(world, *variants)


@refuses("A43", "empty")
def an_index_of_nothing(world: World) -> str:
    return _index(world)


def _nested(world: World, depth: int) -> Json:
    if depth == 0:
        return _entry(world, b"deep")
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [_nested(world, depth - 1)]}).encode()
    digest = world.registry.put_manifest("team/model", None, body, INDEX_TYPE)
    return {"mediaType": INDEX_TYPE, "digest": digest, "size": len(body)}


@mounts("A43", {"w.bin": b"deep"})
def indexes_two_deep(world: World) -> str:
    return _index(world, _nested(world, 1))


@refuses("A43", "nested")
def indexes_five_deep(world: World) -> str:
    return _index(world, _nested(world, 4))


@refuses("A44", "schema", UnsupportedArtifact)
def a_manifest_of_the_first_schema(world: World) -> str:
    body = json.dumps({"schemaVersion": 1, "name": "team/model", "tag": "v1", "fsLayers": [], "history": []}).encode()
    return world.manifest(body, "application/vnd.docker.distribution.manifest.v1+json")
