"""Which parts of the room may be imported without torch: the ones that a configuration or a reader of text needs."""

import subprocess
import sys

LIGHT = """
import sys
import models.manifest, models.store
import models.host.architectures, models.train.settings
import models.text.prepare, models.text.windows
import models.intake.check
from models.host.architectures import Architecture, check_architecture, parameter_count
check_architecture(Architecture("llama", 64, 2, 4))
parameter_count(Architecture("llama", 64, 2, 4))
heavy = {"torch", "transformers", "ray", "ledger", "actors", "cluster"} & set(sys.modules)
assert not heavy, heavy
"""


def test_reading_text_and_configurations_needs_no_torch():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=120)
