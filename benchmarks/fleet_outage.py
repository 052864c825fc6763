"""A fleet of relays in an outage of four hours: what waits, and how fast it is sent afterwards.

    python benchmarks/fleet_outage.py [--events-per-second 1] [--svg docs/fleet-outage.svg]

In simulated time: one event a second takes half a minute, a hundred take a quarter of an hour. The
circuit, the pace, the retries and the dispatchers are the library's own; tests/support has the
rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.fleet_simulation import Course, Plan, simulate

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 760, 190, 90, 20
_GAP = 60
_STEPS = 360
"""How many points a line has."""

Points = list[tuple[float, float]]


def main() -> None:
    """Simulate, and print or draw what has happened."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events-per-second", type=float, default=1.0)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    plan = Plan(events_per_second=arguments.events_per_second)
    started = time.process_time()
    course = simulate(plan)
    spare = plan.pace - plan.events_per_second
    print(f"{plan.producers} producers, {plan.relays} relays, at most {plan.pace:g} requests/s")
    print(f"events accepted       {course.accepted:,}")
    print(f"events delivered      {len(course.delivered):,}")
    print(f"dead letters          {course.dead}")
    print(f"probes                {len(course.probes)}, {course.most_probes_at_once} at a time")
    print(f"most requests in 1 s  {max(course.requests.values())}")
    print(f"backlog at recovery   {course.backlog:,}")
    print(f"drained after         {course.drained_at - course.recovered_at:,.0f} s")
    print(f"  by the formula      {course.backlog / spare + plan.pace / 100:,.0f} s")
    print(f"CPU time              {time.process_time() - started:.0f} s")
    if arguments.svg is not None:
        arguments.svg.write_text(_drawn(plan, course), encoding="utf-8")


def _drawn(plan: Plan, course: Course) -> str:
    """Returns a picture: what waits, and the requests, over time."""
    until = course.drained_at + 600
    waiting: Points = [(at, float(count)) for at, count in course.waiting.items() if at <= until]
    width = max(1, int(until / _STEPS))
    sent: Points = [
        (start + width / 2, sum(course.requests[start + each] for each in range(width)) / width)
        for start in range(0, int(until) - width, width)
    ]
    height = 2 * _HEIGHT + 2 * _GAP + 20
    title = f"An outage of {plan.outage / 3600:g} hours, with {plan.relays} relays"
    what = f"Events wait until a probe succeeds, then they are sent at {plan.pace:g} a second."
    colors = ".down{fill:#d33;opacity:.12}.line{fill:none;stroke:#4a7bd0;stroke-width:2}"
    font = 'font-family="system-ui, sans-serif" font-size="14"'
    box = f'viewBox="0 0 {_WIDTH} {height}" {font} role="img" aria-labelledby="t d"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<title id="t">{title}</title>',
        f'<desc id="d">{what}</desc>',
        f"<style>text{{fill:#888}}line{{stroke:#888}}{colors}</style>",
        *_panel(plan, "events that wait", _thinned(waiting), until, top=40),
        *_panel(plan, "requests a second", sent, until, top=40 + _HEIGHT + _GAP),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _thinned(points: Points) -> Points:
    step = max(1, len(points) // _STEPS)
    return [*points[::step], points[-1]]


def _panel(plan: Plan, name: str, points: Points, until: float, top: int) -> Iterable[str]:
    most = max(value for _, value in points) or 1.0
    wide = _WIDTH - _LEFT - _RIGHT

    def x(at: float) -> float:
        return _LEFT + at / until * wide

    def y(value: float) -> float:
        return top + _HEIGHT * (1 - value / most)

    begin, end = x(plan.before), x(plan.before + plan.outage)
    yield f'<text x="{_LEFT}" y="{top - 12}">{name}</text>'
    yield (
        f'<rect class="down" x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" '
        f'height="{_HEIGHT}"/>'
    )
    for value in (0.0, most):
        yield f'<text x="{_LEFT - 8}" y="{y(value) + 5:.1f}" text-anchor="end">{value:,.0f}</text>'
    yield f'<line x1="{_LEFT}" y1="{y(0)}" x2="{_WIDTH - _RIGHT}" y2="{y(0)}"/>'
    for hour in range(int(until / 3600) + 1):
        at = x(hour * 3600)
        yield f'<line x1="{at:.1f}" y1="{y(0)}" x2="{at:.1f}" y2="{y(0) + 5}"/>'
        yield f'<text x="{at:.1f}" y="{y(0) + 22}" text-anchor="middle">{hour} h</text>'
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    yield f'<polyline class="line" points="{path}"/>'


if __name__ == "__main__":
    main()
