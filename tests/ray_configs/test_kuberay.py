"""The Kubernetes files against the published types, and against each other."""

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "ray_configs" / "kuberay").glob("*.yaml"))
TYPES: dict[str, dict[str, str]] = {}
for _schema in ("kubernetes", "kuberay"):
    TYPES |= json.loads((Path(__file__).parent / "schemas" / f"{_schema}.json").read_text(encoding="utf-8"))["types"]
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def mistakes(value: Any, kind: str, path: str = "") -> Iterator[str]:
    """What is wrong in a value of this type, by its path."""
    if kind == "any":
        return
    if kind.startswith("="):
        if value not in kind[1:].split("|"):
            yield f"{path}: {value!r} is none of {kind[1:]}"
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{path}: {value!r} is no {kind}"
    elif inner := re.fullmatch(r"list\[(.+)]", kind):
        if not isinstance(value, list):
            yield f"{path}: expected a list"
            return
        for index, item in enumerate(value):
            yield from mistakes(item, inner[1], f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield f"{path}: expected {kind}"
    elif inner := re.fullmatch(r"map\[str, (.+)]", kind):
        for key, item in value.items():
            yield from mistakes(key, "str", f"{path} (key)")
            yield from mistakes(item, inner[1], f"{path}.{key}")
    else:
        fields = TYPES[kind]
        yield from (f"{path}.{key}: {kind} has no such field" for key in value if key not in fields)
        for name, field in fields.items():
            if name in value:
                yield from mistakes(value[name], field.removesuffix("!"), f"{path}.{name}")
            elif field.endswith("!"):
                yield f"{path}.{name}: is needed"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def named(name: str) -> dict[str, Any]:
    return documents(ROOT / "ray_configs" / "kuberay" / name)[0]


def groups(cluster: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The head and each worker group, with their pods."""
    found = [("head", cluster["headGroupSpec"])]
    return found + [(group["groupName"], group) for group in cluster["workerGroupSpecs"]]


CLUSTER = named("cluster.yaml")["spec"]
each_group = pytest.mark.parametrize(("name", "group"), groups(CLUSTER), ids=[name for name, _ in groups(CLUSTER)])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_field_is_one_of_the_published_types(path: Path) -> None:
    for document in documents(path):
        assert list(mistakes(document, document["kind"])) == []


def test_the_job_runs_on_the_same_cluster() -> None:
    assert named("job.yaml")["spec"]["rayClusterSpec"] == CLUSTER


def spoil_name(spec: dict[str, Any]) -> None:
    spec["headGroupSpec"]["rayStartParam"] = spec["headGroupSpec"].pop("rayStartParams")


def spoil_kind(spec: dict[str, Any]) -> None:
    spec["workerGroupSpecs"][0]["maxReplicas"] = "4"


def spoil_needed(spec: dict[str, Any]) -> None:
    del spec["workerGroupSpecs"][1]["groupName"]


def spoil_word(spec: dict[str, Any]) -> None:
    spec["autoscalerOptions"]["version"] = "v3"


def spoil_pod(spec: dict[str, Any]) -> None:
    spec["headGroupSpec"]["template"]["spec"]["volumes"][2]["emptyDir"]["size"] = "1Gi"


def spoil_quantity(spec: dict[str, Any]) -> None:
    spec["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = 4


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (spoil_name, ".headGroupSpec.rayStartParam:"),
        (spoil_kind, ".workerGroupSpecs[0].maxReplicas:"),
        (spoil_needed, ".workerGroupSpecs[1].groupName:"),
        (spoil_word, ".autoscalerOptions.version:"),
        (spoil_pod, ".headGroupSpec.template.spec.volumes[2].emptyDir.size:"),
        (spoil_quantity, ".headGroupSpec.template.spec.containers[0].resources.limits.cpu:"),
    ],
)
def test_a_mistake_is_found_where_it_is(spoil: Callable[[dict[str, Any]], None], where: str) -> None:
    spoiled = copy.deepcopy(CLUSTER)
    spoil(spoiled)
    found = list(mistakes(spoiled, "RayClusterSpec"))
    assert [mistake.split(" ")[0] for mistake in found] == [where]


@each_group
def test_every_pod_has_the_home_its_own_disk_and_shared_memory(name: str, group: dict[str, Any]) -> None:
    pod = group["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert set(mounts) <= set(volumes)
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        assert environment["TAORAY_HOME"].startswith(mounts["home"])
        if container in pod["containers"]:
            assert environment["TAORAY_DISK"] == mounts["disk"]
            assert mounts["shm"] == "/dev/shm"
            assert {port["name"] for port in container["ports"]} >= {"metrics"}
    claim = volumes["home"]["persistentVolumeClaim"]["claimName"]
    storage = {document["metadata"]["name"]: document for document in documents(FILES[-1].with_name("storage.yaml"))}
    assert storage[claim]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "medium" not in volumes["disk"]["emptyDir"]
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    memory = int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert int(volumes["shm"]["emptyDir"]["sizeLimit"].removesuffix("Gi")) < memory


@each_group
def test_spot_machines_are_named_as_such(name: str, group: dict[str, Any]) -> None:
    pod, market = group["template"]["spec"], group["labels"]["ray.io/market-type"]
    assert market == ("spot" if "spot" in name else "on-demand")
    assert ("nodeSelector" in pod) == (market == "spot")
    asked = pod["containers"][0]["resources"]
    assert ("nvidia.com/gpu" in asked["requests"]) == name.startswith("gpu")
    assert asked["requests"].get("nvidia.com/gpu") == asked["limits"].get("nvidia.com/gpu")


def test_the_head_has_no_cpus_and_the_ledger_has_four_machines_that_stay() -> None:
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    steady = dict(groups(CLUSTER))["steady"]
    assert steady["minReplicas"] == steady["replicas"] == steady["maxReplicas"] >= 4
    (spread,) = steady["template"]["spec"]["topologySpreadConstraints"]
    labels = steady["template"]["metadata"]["labels"]
    assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    for _, group in groups(CLUSTER)[1:]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_services_and_monitors_find_the_pods() -> None:
    head = CLUSTER["headGroupSpec"]["template"]
    service = documents(FILES[-1].with_name("storage.yaml"))[1]["spec"]
    assert service["selector"].items() <= head["metadata"]["labels"].items()
    assert {port["targetPort"] for port in service["ports"]} <= {
        port["name"] for port in head["spec"]["containers"][0]["ports"]
    }
    monitor = named("podmonitor.yaml")["spec"]
    for _, group in groups(CLUSTER):
        assert monitor["selector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()


def test_what_has_to_be_made_by_hand_is_made_in_the_document() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    volumes = CLUSTER["headGroupSpec"]["template"]["spec"]["volumes"]
    secrets = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    secrets.add(CLUSTER["authOptions"]["secretName"])
    for secret in secrets:
        assert f"kubectl create secret generic {secret} " in page
    for name in (volume["configMap"]["name"] for volume in volumes if "configMap" in volume):
        assert f"kubectl create configmap {name} " in page


def test_the_job_launches_what_is_mounted() -> None:
    words = named("job.yaml")["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "cluster", "launch"]
    mounts = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert words[4] in [mount["mountPath"] for mount in mounts]
    network = tomllib.loads((ROOT / "ray_configs" / "multi_node.toml").read_text(encoding="utf-8"))
    ports = CLUSTER["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    assert {port["name"]: port["containerPort"] for port in ports}["http"] == network["serve"]["port"]
    assert len(network["validators"]) % 4 == 0
