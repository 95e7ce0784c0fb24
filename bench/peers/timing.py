"""How the peers' programs time a call."""

import time


def seconds_per_run(run, min_seconds, min_runs):
    """Times of single runs, after a warm-up, until both limits are passed."""
    for _ in range(3):
        run()
    times = []
    while len(times) < min_runs or sum(times) < min_seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times
