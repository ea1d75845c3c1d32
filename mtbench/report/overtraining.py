"""Charts of every metric over training, of suites that keep checkpoints."""

from __future__ import annotations

from mtbench.analysis.checkpoints import OverTraining, Side, TaskOverTraining, lines, over_training, without_final
from mtbench.report.charts import Chart, Drawing, plain
from mtbench.report.result import Result

_SIDES: tuple[Side, ...] = ("test", "validation")


def find(result: Result) -> OverTraining:
    """The scores over training of what a report shows; empty where the suite keeps no checkpoints."""
    extra = without_final(result.scores)
    averages, layout = result.averages, result.layout
    shown = {averages.rows[r]["translator"] for r in layout.rows if averages.rows[r]["role"] == "translator"}
    rows = sorted(shown & set(extra["translator"].to_pylist()))
    datasets = sorted({averages.blocks[b]["dataset"] for b in result.blocks} & set(extra["dataset"].to_pylist()))
    return over_training(result.scores, rows=rows, datasets=datasets) if rows and datasets else OverTraining(())


def over_training_charts(found: OverTraining) -> list[Chart]:
    """For each task a chart with a drawing for each metric: its test and validation scores over training."""
    result = []
    for position, task in enumerate(found.tasks):
        drawings = tuple(drawing for number in range(len(task.columns)) if (drawing := _drawing(task, number)).data)
        alt = f"Line chart for {task.title}: a metric by training step. `mtbench checkpoints` prints the numbers."
        result.append(Chart(f"overtraining-{position}", "Metrics over training", alt, drawings, "Metric", task.title))
    return [chart for chart in result if chart.drawings]


def _drawing(task: TaskOverTraining, number: int) -> Drawing:
    column = task.columns[number]
    traces = []
    for side in _SIDES:
        points: dict[str, list[tuple[float, float]]] = {}
        for line in lines(task, side):
            value = line.values[number]
            if value is not None and line.step is not None:
                points.setdefault(line.model, []).append((line.step, value[0]))
        traces += [
            {
                "type": "scatter",
                "mode": "lines+markers" if len(of) > 1 else "markers",
                "x": [step for step, _ in of],
                "y": [value for _, value in of],
                "name": plain(f"{model} ({side})"),
                "line": {"dash": "solid" if side == "test" else "dot", "width": 1.6},
                "hovertemplate": "step %{x}: %{y:.4g}",
            }
            for model, of in points.items()
        ]
    arrow = "↑" if column.higher_is_better else "↓"
    layout = {
        "height": 420,
        "xaxis": {"title": {"text": "step"}, "type": "log", "automargin": True},
        "yaxis": {"title": {"text": plain(f"{column.name} {arrow}")}, "automargin": True},
    }
    return Drawing(column.name, traces, layout)
