"""What was measured, as tables: medians of the rounds with their spread, ratios before figures."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measure import Measure
from bench.variants import Variant

Results = dict[str, list[Measure]]

#: Of what we claim: which measure of which variant, over that of which other.
_CLAIMS: list[tuple[str, str, str, Callable[[Measure], float]]] = [
    ("10 consumers ÷ floor, end to end", "ours-10", "floor", lambda it: it.finished),
    ("10 consumers ÷ taskiq, end to end", "ours-10", "taskiq", lambda it: it.finished),
    ("default ÷ Celery, end to end", "ours-default", "celery", lambda it: it.finished),
    ("default ÷ before, end to end", "ours-default", "before-default", lambda it: it.finished),
    ("10 consumers ÷ before, end to end", "ours-10", "before-10", lambda it: it.finished),
    ("POST p99 ÷ floor's, default", "ours-default", "floor", lambda it: it.p99),
    ("POST p99 ÷ floor's, 10 consumers", "ours-10", "floor", lambda it: it.p99),
    ("tasks accepted by batches ÷ by single POSTs", "ours-batch", "ours-10", lambda it: it.accepted),
    ("4 workers ÷ 1, end to end", "ours-4-workers", "ours-default", lambda it: it.finished),
]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and the least and the most."""
    median = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def claims(results: Results) -> str:
    """Ratios of two variants in the same rounds."""
    return table(
        ["ratio", "median (least-most)"],
        [
            [title, spread(_ratios(results[one], results[other], of), 2)]
            for title, one, other, of in _CLAIMS
            if one in results and other in results
        ],
    )


def figures(variants: list[Variant], results: Results) -> str:
    """All of all variants; ratios to the floor of the same rounds come first."""
    header = ["POST → result"]
    if "floor" in results:
        header += ["end to end ÷ floor", "POST ÷ floor"]
    header += ["end to end, tasks/s", "POST, tasks/s", "POST p50, ms", "p99, ms"]
    header += ["CPU a task, ms", "bytes a task", "memory, MB"]
    return table(header, [_figures(variant, results) for variant in variants])


def _figures(variant: Variant, results: Results) -> list[str]:
    measures = results[variant.name]
    row = [variant.title]
    if floor := results.get("floor"):
        row += [spread(_ratios(measures, floor, of), 2) for of in (_finished, _accepted)]
    return [
        *row,
        spread([it.finished for it in measures]),
        spread([it.accepted for it in measures]),
        spread([it.p50 * 1000 for it in measures], 1),
        spread([it.p99 * 1000 for it in measures], 1),
        by_process([{role: cpu * 1000 for role, cpu in it.cpu.items()} for it in measures], 2),
        spread([it.disk for it in measures]),
        by_process([{role: size / 1e6 for role, size in it.memory.items()} for it in measures], 0),
    ]


def _finished(measure: Measure) -> float:
    return measure.finished


def _accepted(measure: Measure) -> float:
    return measure.accepted


def _ratios(ones: list[Measure], others: list[Measure], of: Callable[[Measure], float]) -> list[float]:
    return [of(one) / of(other) for one, other in zip(ones, others, strict=True)]


def by_process(rounds: list[dict[str, float]], digits: int) -> str:
    """Medians of the rounds, by process."""
    return ", ".join(f"{role} {statistics.median(it[role] for it in rounds):.{digits}f}" for role in rounds[0])


def ceiling(most: float, cost: float) -> str:
    """Of the load generator: requests a second, and CPU seconds for one."""
    return (
        f"The load generator does at most {most:,.0f} requests a second against a handler that does nothing, "
        f"and takes {cost * 1e6:.0f} µs of CPU for one."
    )


def write(document: Path, parts: dict[str, str], command: str = "make bench") -> None:
    """Put each part of what a command has made where it stood the last time: between its two comments."""
    text = document.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name}, written by `{command}` -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    document.write_text(text)
