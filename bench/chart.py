"""Tables as SVG bar charts: no dependency, readable on a light page and on a dark one."""

from html import escape

from .samples import Series, Table, shown

_BARS = 340
_RIGHT = 90
_CHAR = 7.2
"""Width of a letter of the labels, on the generous side: fonts differ."""
_BAR, _GAP = 20, 10
_TOP, _BOTTOM = 62, 16

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #57606a; font-size: 12px }
.bar { fill: #8c959f } .ours { fill: #c2410c } .spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9ea7b3 } .bar { fill: #6e7681 } .ours { fill: #f0883e }
  .spread { stroke: #e6edf3 }
}
"""


def drawn(table: Table) -> str:
    """Bars are medians, the line across their end is how far the rounds spread."""
    height = _TOP + len(table.series) * (_BAR + _GAP) + _BOTTOM
    most = max((one.high for one in table.series), default=0) or 1.0
    left = 16 + _CHAR * max(len(one.label) for one in table.series)
    width = left + _BARS + _RIGHT
    bars = [
        line
        for number, one in enumerate(table.series)
        for line in _bar(one, left, _TOP + number * (_BAR + _GAP), _BARS / most)
    ]
    unit = f"{table.unit}, {table.better} is better"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" '
        f'width="{width:.0f}" aria-label="{escape(table.title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(table.title)}</text>',
        f'<text class="quiet" x="8" y="44">{escape(unit)}</text>',
    ]
    return "\n".join([*head, *bars, "</svg>", ""])


def _bar(one: Series, left: float, y: int, scale: float) -> list[str]:
    end, low, high = (left + max(value, 0) * scale for value in (one.median, one.low, one.high))
    middle = y + _BAR / 2
    kind = "ours" if one.ours else "bar"
    text = y + _BAR - 5
    return [
        f'<text x="{left - 8:.1f}" y="{text}" text-anchor="end">{escape(one.label)}</text>',
        f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{max(end - left, 1):.1f}" '
        f'height="{_BAR}" rx="2"/>',
        f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{text}">{shown(one.median)}</text>',
    ]
