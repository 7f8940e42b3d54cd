"""The files for `ray up` against Ray's own schema, and against what it looks at after that."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml

FILES = sorted((Path(__file__).parents[2] / "ray_configs" / "up").glob("*.yaml"))
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
OWN = "machines.yaml"

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@each_file
def test_it_is_what_ray_reads(path: Path) -> None:
    config = read(path)
    jsonschema.validate(config, SCHEMA | {"properties": SCHEMA["properties"] | {"min_workers": {"type": "integer"}}})
    assert ("min_workers" in config) == (path.name == OWN)


def test_a_field_that_ray_does_not_know_is_found() -> None:
    config = read(FILES[0])
    config["available_node_types"]["gpu"]["max_worker"] = 3
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate(config, SCHEMA)


@each_file
def test_types_of_nodes_fit_together(path: Path) -> None:
    config = read(path)
    if path.name == OWN:
        workers = config["provider"]["worker_ips"]
        assert config["min_workers"] == config["max_workers"] == len(workers) == len(set(workers))
        assert config["provider"]["head_ip"] not in workers
        return
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert sum(kind.get("min_workers", 0) for kind in types.values()) <= config["max_workers"]
    assert sum(kind.get("max_workers", 0) for kind in types.values()) <= config["max_workers"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["steady"]["min_workers"] == types["steady"]["max_workers"] >= 4
    for name, kind in types.items():
        spot = "SPOT" in json.dumps(kind["node_config"]).upper()
        assert kind["labels"] == {"ray.io/market-type": "spot" if spot else "on-demand"}
        assert spot == (name == "gpu")


@each_file
def test_every_node_gets_the_checkout_the_token_and_its_disk(path: Path) -> None:
    config = read(path)
    mounts = config["file_mounts"]
    checkout = next(there for there, here in mounts.items() if here == ".")
    token = next(there for there, here in mounts.items() if here == "~/.ray/auth_token")
    assert token.endswith("/.ray/auth_token")
    assert {".git", ".venv", "taoray-home"} <= set(config["rsync_exclude"])
    setup = "\n".join(config["setup_commands"])
    assert f"--constraint {checkout}/constraints.txt {checkout}" in setup
    assert f"chmod 600 {token}" in setup
    for which in ("head_start_ray_commands", "worker_start_ray_commands"):
        stop, start = config[which]
        assert stop.endswith("ray stop")
        environment = start + " ".join(config.get("docker", {}).get("run_options", []))
        assert "RAY_AUTH_MODE=token" in environment
        assert "TAORAY_DISK=/var/lib/taoray" in environment
        assert "--metrics-export-port=8080" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in config["head_start_ray_commands"][1]
    assert "$RAY_HEAD_IP:6379" in config["worker_start_ray_commands"][1]


@each_file
def test_folders_in_a_container_are_those_of_the_machine(path: Path) -> None:
    config = read(path)
    if path.name == OWN:
        assert "docker" not in config
        return
    volumes = re.findall(r"--volume (\S+):(\S+)", " ".join(config["docker"]["run_options"]))
    assert volumes == [("/mnt/taoray", "/mnt/taoray"), ("/var/lib/taoray", "/var/lib/taoray")]
    outside = "\n".join(config["initialization_commands"])
    assert all(f"{place}" in outside for place, _ in volumes)
    assert "mountpoint -q /mnt/taoray" in outside
