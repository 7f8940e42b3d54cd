"""The seam between plain classes and Ray: the one file that makes an actor out of a class.

Invariants:
* an actor has two concurrency groups of one thread each: `health` answers while `work` is busy;
* an actor restarts for ever, its calls are never repeated by Ray (the dispatcher decides), except the keeper's,
  whose methods are idempotent;
* actors ask for no CPUs, so that none waits for one; GPUs and memory are asked for by name;
* an actor that prefers a node goes elsewhere when that node is gone, but never where it may not be at all.
"""

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

Handle = Any
"""A running actor: its methods are called as `handle.method.remote(…)`, which Ray's own types do not describe."""

Reference = Any
"""What a remote call will bring."""

HEALTH = frozenset({"ping", "node"})
"""Methods that must answer while the actor works."""

NODE, MARKET, SPOT = "ray.io/node-id", "ray.io/market-type", "spot"
"""Labels of nodes that Ray knows: the node itself, and whether it may be taken away at any time."""


@dataclass(frozen=True)
class Place:
    """Where an actor is to run; an empty one leaves it to Ray.

    Attributes:
        node: that it prefers, by id.
        never: nodes on which it is never started.
        preemptible: whether it may be on a node that may be taken away at any time.
        bundle: a reserved one, as the placement group and its number; then the rest is the group's.
    """

    node: str = ""
    never: tuple[str, ...] = ()
    preemptible: bool = True
    bundle: tuple[Any, int] | None = None

    def options(self) -> dict[str, Any]:
        """As Ray takes them. Soft affinity to a node is not honoured for actors that ask for no resources, labels
        with a fallback are.
        """
        if self.bundle is not None:
            return {"scheduling_strategy": PlacementGroupSchedulingStrategy(*self.bundle)}
        always = {} if self.preemptible else {MARKET: f"!{SPOT}"}
        if self.never:
            always[NODE] = f"!in({','.join(self.never)})"
        if not self.node:
            return {"label_selector": always} if always else {}
        return {"label_selector": {**always, NODE: self.node}, "fallback_strategy": [{"label_selector": always}]}


ANYWHERE = Place()


def _node(self: object) -> str:
    """The node that the actor runs on, by id."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def actor_class(plain: type) -> Any:
    """Wrap a plain class: each public method joins the group `work` or `health`, where `node` tells its node."""
    methods: dict[str, Any] = {"node": ray.method(concurrency_group="health")(_node)}
    for kind in reversed(plain.__mro__[:-1]):
        for name, function in vars(kind).items():
            if callable(function) and not name.startswith("_"):
                methods[name] = ray.method(concurrency_group="health" if name in HEALTH else "work")(function)
    wrapped = type(plain.__name__, (plain,), {**methods, "__doc__": plain.__doc__, "__module__": plain.__module__})
    options: dict[str, Any] = {"concurrency_groups": {"work": 1, "health": 1}}
    return ray.remote(**options)(wrapped)


def start_actor(
    plain: type,
    *arguments: Any,
    name: str,
    gpus: float = 0,
    memory_bytes: int = 0,
    threads: int = 1,
    place: Place = ANYWHERE,
) -> Handle:
    """Start a host or a validator that lives as long as the driver. Returns at once; the first ping tells.

    Raises:
        ValueError: the name is taken.
    """
    options = {"name": name, "num_cpus": 0, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": 0}
    if memory_bytes:
        options["memory"] = memory_bytes
    own = {
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": str(threads > 1).lower(),
    }
    return actor_class(plain).options(**options, **place.options(), runtime_env={"env_vars": own}).remote(*arguments)


def start_keeper(plain: type, *arguments: Any, namespace: str, place: Place = ANYWHERE) -> Handle:
    """Start, or find, the network's one keeper: it outlives its driver, and Ray repeats its calls after a restart."""
    return (
        actor_class(plain)
        .options(
            name="keeper",
            namespace=namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            **place.options(),
        )
        .remote(*arguments)
    )
