"""A bar chart as SVG, without any library: one horizontal bar a row, with its spread as a line."""

from xml.sax.saxutils import escape, quoteattr

WIDTH, LABEL, VALUE = 720, 165, 80
ROW, BAR, TOP, BOTTOM = 34, 18, 44, 12
OWN, OTHER = "#2563a8", "#9aa5b1"
STYLE = "font-family:sans-serif;font-size:13px;fill:#1f2933"


def bars(title, rows):
    """Give the drawing; each row is a name and a spread (median, min, max)."""
    greatest = max((figures["max"] for _, figures in rows), default=1) or 1
    scale = (WIDTH - LABEL - VALUE) / greatest
    height = TOP + ROW * len(rows) + BOTTOM
    size = f'width="{WIDTH}" height="{height}"'
    about = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label={quoteattr(title)}'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {about}>',
        f'<rect {size} fill="#ffffff"/>',
        _text(12, 24, title, "font-weight:bold;"),
    ]
    for number, (row, figures) in enumerate(rows):
        lines += _bar(row, figures, TOP + ROW * number, scale)
    return "\n".join([*lines, "</svg>", ""])


def _bar(name, figures, top, scale):
    width, least, most = (figures[key] * scale for key in ("median", "min", "max"))
    middle = top + BAR / 2
    colour = OWN if name == "order-facts" else OTHER
    return [
        _text(12, middle + 5, name),
        f'<rect x="{LABEL}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
        f'<path d="M{LABEL + least:.1f} {middle}H{LABEL + most:.1f}" stroke="#1f2933" stroke-width="2"/>',
        _text(LABEL + most + 8, middle + 5, f"{figures['median']:,.0f}"),
    ]


def _text(x, y, text, style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}{STYLE}">{escape(text)}</text>'
