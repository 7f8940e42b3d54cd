"""The seam between plain classes and Ray: the one file that makes an actor out of a class.

Invariants:
* an actor has two concurrency groups of one thread each: `health` answers while `work` is busy;
* an actor restarts for ever, its calls are never repeated by Ray (the dispatcher decides), except the keeper's,
  whose methods are idempotent;
* actors ask for no CPUs, so that none waits for one; GPUs are asked for by name.
"""

from collections.abc import Callable
from typing import Any

import ray

Handle = Any
"""A running actor: its methods are called as `handle.method.remote(…)`, which Ray's own types do not describe."""

Reference = Any
"""What a remote call will bring."""

HEALTH = frozenset({"ping"})
"""Methods that must answer while the actor works."""


def actor_class(plain: type) -> Any:
    """Wrap a plain class: each public method joins the group `work` or `health`."""
    methods: dict[str, Callable[..., Any]] = {}
    for kind in reversed(plain.__mro__[:-1]):
        for name, function in vars(kind).items():
            if callable(function) and not name.startswith("_"):
                methods[name] = ray.method(concurrency_group="health" if name in HEALTH else "work")(function)
    wrapped = type(plain.__name__, (plain,), {**methods, "__doc__": plain.__doc__, "__module__": plain.__module__})
    options: dict[str, Any] = {"concurrency_groups": {"work": 1, "health": 1}}
    return ray.remote(**options)(wrapped)


def start_actor(plain: type, *arguments: Any, name: str, gpus: float = 0, threads: int = 1) -> Handle:
    """Start a host or a validator that lives as long as the driver. Returns at once; the first ping tells."""
    options = {"name": name, "num_cpus": 0, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": 0}
    own = {
        "OMP_NUM_THREADS": str(threads),
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": str(threads > 1).lower(),
    }
    return actor_class(plain).options(**options, runtime_env={"env_vars": own}).remote(*arguments)


def start_keeper(plain: type, *arguments: Any, namespace: str) -> Handle:
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
        )
        .remote(*arguments)
    )
