"""How the tests use hypothesis: the same examples in each run, and no time limit for one of them."""

import hypothesis


def examples(count):
    """Return the settings of a test that is to draw `count` examples."""
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
