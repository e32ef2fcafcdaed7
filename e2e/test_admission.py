"""What the chart's admission policy says of pods, by Google's own runtime of its language."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from csi_driver.errors import InvalidRequest
from csi_driver.oci.reference import Reference
from e2e.chart import Helm
from e2e.conftest import Program

DRIVER = "model.csi.modelpack.org"
ALLOWED = ["registry.example.com/team", "ghcr.io", "docker.io/acme"]

# What a policy says of a pod: why it is refused, or nothing.
Verdict = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def verdict(program: Program) -> Verdict:
    """Decides with the policy as Helm renders it, as the API server would."""
    cel = pytest.importorskip("cel_expr_python.cel", reason="make e2e installs cel-expr-python")
    strings = pytest.importorskip("cel_expr_python.ext.ext_strings", reason="make e2e installs cel-expr-python")
    values = {"admissionPolicy": {"enabled": True, "allowedRegistries": ALLOWED}}
    policy = Helm(program("helm")).render(values).one("ValidatingAdmissionPolicy")["spec"]
    types = {"object": cel.Type.DYN, "variables": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
    environment = cel.NewEnv(variables=types, extensions=[strings.ExtStrings()])
    compiled: dict[str, Any] = {}

    def evaluate(expression: str, data: dict[str, Any]) -> Any:
        if expression not in compiled:
            compiled[expression] = environment.compile(expression)
        return compiled[expression].eval(data=data).plain_value()

    def decide(pod: dict[str, Any]) -> str:
        data: dict[str, Any] = {"object": pod, "variables": {}}
        if not all(evaluate(condition["expression"], data) for condition in policy["matchConditions"]):
            return ""
        for variable in policy["variables"]:
            data["variables"][variable["name"]] = evaluate(variable["expression"], data)
        for validation in policy["validations"]:
            outcome = evaluate(validation["expression"], data)
            if outcome is not True:
                assert outcome is False  # an expression that fails is no verdict
                return str(evaluate(validation["messageExpression"], data))
        return ""

    return decide


def pod(*attributes: dict[str, str] | None, driver: str = DRIVER) -> dict[str, Any]:
    """A pod with a model for each mapping of attributes, and with volumes of other kinds."""
    others: list[dict[str, Any]] = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "other", "csi": {"driver": "csi.example.com", "volumeAttributes": {"modelRef": "evil.example.com/m"}}},
    ]
    models = [
        {"name": f"model-{number}", "csi": {"driver": driver, **({"volumeAttributes": given} if given else {})}}
        for number, given in enumerate(attributes)
    ]
    return {"spec": {"containers": [], "volumes": [*others, *models]}}


@pytest.mark.parametrize(
    "reference",
    [
        "registry.example.com/team/model:v1",
        "registry.example.com/team",
        "registry.example.com/team:v1",
        "registry.example.com/team@sha256:" + "0" * 64,
        "  ghcr.io/any/model  ",
        "oci://ghcr.io/any/model",
        "acme/model",
        "docker.io/acme/model",
        "index.docker.io/acme/model",
        "",
    ],
)
def test_models_of_allowed_registries_are_allowed(verdict: Verdict, reference: str) -> None:
    assert verdict(pod({"modelRef": reference})) == ""
    assert verdict(pod({f"{DRIVER}/reference": reference})) == ""


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("registry.example.com/teams/model", "registry.example.com/teams/model"),
        ("registry.example.com/other/model", "registry.example.com/other/model"),
        ("ghcr.io:5000/model", "ghcr.io:5000/model"),
        ("ghcr.io.evil.example.com/model", "ghcr.io.evil.example.com/model"),
        ("ghcr.io@evil.example.com/model", "ghcr.io@evil.example.com/model"),
        ("evil.example.com/ghcr.io/model", "evil.example.com/ghcr.io/model"),
        ("docker.io/ghcr.io/model", "docker.io/ghcr.io/model"),
        ("model", "docker.io/library/model"),
        ("team/model", "docker.io/team/model"),
        ("localhost/model", "localhost/model"),
        ("GHCR.io/model", "GHCR.io/model"),
    ],
)
def test_models_of_others_are_refused_by_the_name_that_is_meant(verdict: Verdict, reference: str, meant: str) -> None:
    expected = f"models may come from {', '.join(ALLOWED)} only, and this pod names {meant}"

    assert verdict(pod({"modelRef": reference})) == expected
    assert verdict(pod({f"{DRIVER}/reference": reference})) == expected


def test_one_model_too_many_refuses_the_pod(verdict: Verdict) -> None:
    refused = verdict(pod({"modelRef": "ghcr.io/a"}, {"modelRef": "b.example.com/b"}, {"modelRef": "c.example.com/c"}))

    assert refused.endswith("names b.example.com/b, c.example.com/c")


def test_both_names_of_the_attribute_are_looked_at(verdict: Verdict) -> None:
    refused = verdict(pod({"modelRef": "ghcr.io/a", f"{DRIVER}/reference": "b.example.com/b"}))

    assert refused.endswith("names b.example.com/b")


def test_pods_without_models_are_none_of_its_business(verdict: Verdict) -> None:
    assert verdict({"spec": {"containers": []}}) == ""
    assert verdict(pod()) == ""
    assert verdict(pod(None)) == ""
    assert verdict(pod({"modelRef": "b.example.com/b"}, driver="csi.example.com")) == ""


parts = st.sampled_from(
    ["registry.example.com", "team", "ghcr.io", "docker.io", "index.docker.io", "acme", "library", "model", "LOCALHOST"]
)
texts = st.builds(
    lambda start, names, end: start + "/".join(names) + end,
    st.sampled_from(["", " ", "oci://", "/", "\x1c", "\u00a0"]),
    st.lists(parts, min_size=1, max_size=4),
    st.sampled_from(["", ":v1", "@sha256:" + "0" * 64, "/", ":5000/model", "\n", "\x1f"]),
)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(texts, st.text(max_size=20)))
@example(text="docker.io/acme")
@example(text="index.docker.io/ghcr.io")
def test_what_it_allows_is_what_the_driver_takes_it_for(verdict: Verdict, text: str) -> None:
    if verdict(pod({"modelRef": text})) or not text.strip():
        return
    try:
        reference = Reference.parse(text.strip())
    except InvalidRequest:
        return  # no pod gets it
    name = f"{reference.host}/{reference.repository}"

    assert any(name == allowed or name.startswith(f"{allowed}/") for allowed in ALLOWED)
