"""How hypothesis runs: the same examples each time in CI, and no deadline that a busy machine could miss."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "taskqueue",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("taskqueue")
