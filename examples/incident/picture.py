# SPDX-License-Identifier: LGPL-2.1-or-later
"""picture.py - draws the parts of the day as one SVG, on a card that is light or dark as the viewer prefers."""

WIDTH, LEFT, RIGHT = 960, 70, 24
PANEL, GAP, TOP = 190, 112, 144     # height of a plot, between two plots, above the first
QUARTER = 0.25                      # s, the width of a measured bar

STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de }
  text { font-family: "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif; font-size: 12px; fill: #57606a }
  .title { font-size: 18px; font-weight: bold; fill: #1f2328 }
  .panel { font-size: 14px; font-weight: bold; fill: #1f2328 }
  .note { fill: #1f2328 }
  .downtext { font-size: 14px; font-weight: bold; fill: #b3261e }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  .axis { stroke: #8c959f; stroke-width: 1 }
  .first { fill: #1b6ca8 }
  .second { fill: #74b3dd }
  .down { fill: #f9d5d1 }
  .mark { stroke: #1f2328; stroke-width: 1.3; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #161b22; stroke: #30363d }
    text { fill: #9aa4af }
    .title, .panel, .note { fill: #e6edf3 }
    .downtext { fill: #ff9a91 }
    .grid { stroke: #2b323a }
    .axis { stroke: #6e7681 }
    .first { fill: #2f81c7 }
    .second { fill: #8cc4ea }
    .down { fill: #4a2020 }
    .mark { stroke: #e6edf3 }
  }
"""


def text(x, y, words, kind="", anchor="start"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{words}</text>'


class Panel:
    """One part: bars of requests answered per second, the times when both servers were down, and marks for events."""

    def __init__(self, part, top, since, until, most):
        self.part, self.top, self.since, self.until, self.most = part, top, since, until, most

    def x(self, t):
        return LEFT + (min(max(t, self.since), self.until) - self.since) / (self.until - self.since) * (WIDTH - LEFT - RIGHT)

    def y(self, rate):
        return self.top + PANEL * (1 - rate / self.most)

    def frame(self):
        yield text(LEFT, self.top - 46, self.part.title, "panel")
        for step in range(0, self.most + 1, 500):
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(step):.1f}" y2="{self.y(step):.1f}" class="grid"/>'
            yield text(LEFT - 8, self.y(step) + 4, f"{step:,}", "", "end")
        for t in range(int(self.since), int(self.until) + 1):
            yield f'<line x1="{self.x(t):.1f}" x2="{self.x(t):.1f}" y1="{self.y(0):.1f}" y2="{self.y(0) + 5:.1f}" class="axis"/>'
            if t % 2 == 0:
                yield text(self.x(t), self.y(0) + 19, f"{t}", "", "middle")
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(0):.1f}" y2="{self.y(0):.1f}" class="axis"/>'
        middle = self.top + PANEL / 2
        yield f'<g transform="rotate(-90 20 {middle})">{text(20, middle, "requests answered / s", "", "middle")}</g>'

    def down(self):
        """The times when both servers were down."""
        for a, b in both(self.part.down):
            if b - a < 0.1:
                continue
            width = self.x(b) - self.x(a)
            yield f'<rect x="{self.x(a):.1f}" y="{self.top}" width="{width:.1f}" height="{PANEL}" class="down"/>'
            if width > 150:
                middle = (self.x(a) + self.x(b)) / 2
                yield text(middle, self.top + PANEL / 2, f"both servers down: {b - a:.1f} s", "downtext", "middle")

    def bars(self):
        first, second = (dict(rows) for rows in self.part.rates)
        times = sorted({t for t in list(first) + list(second) if self.since <= t and t + QUARTER <= self.until})
        for kind, low, high in (("first", {}, first), ("second", first, second)):
            path = []
            for t in times:
                base = low.get(t, 0)
                a, b, top, bottom = self.x(t), self.x(t + QUARTER), self.y(base + high.get(t, 0)), self.y(base)
                path.append(f"M{a:.1f} {bottom:.1f}V{top:.1f}H{b:.1f}V{bottom:.1f}Z")
            yield f'<path d="{"".join(path)}" class="{kind}" shape-rendering="crispEdges"/>'

    def mark(self, t, words, anchor, row=0):
        x, high = self.x(t), self.top - 8 - 14 * row
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{self.y(0):.1f}" class="mark"/>'
        if words:
            yield text(x + (5 if anchor == "start" else -5), high - 4, words, "note", anchor)

    def first(self, words):
        """The first of the marks that begin with `words`, and how many there are."""
        times = sorted(t for t, mark in self.part.events if mark.startswith(words))
        return times[:1], len(times)

    def marks(self):
        told = sorted(t for t, mark in self.part.events if mark.startswith("node-"))
        for t in told:
            yield from self.mark(t, f"{len(told)} announcements" if t == told[0] else "", "end")
        for words, label, anchor, row in (("started by hand", "started by hand", "end", 0), ("drained", "{} drained, rebooted", "start", 1),
                                          ("back", "back, not announced", "start", 0), ("alarm", "monitor: unannounced", "start", 1),
                                          ("playbooks", "playbooks stop", "start", 0), ("announced", "", "start", 0)):
            times, count = self.first(words)
            for t in times:
                yield from self.mark(t, label.format(count), anchor, row)
        if self.part.result["in_use"] is not None:
            at, after = self.part.announced_at, f"{self.part.result['in_use']:.1f} s"
            yield from self.mark(at + self.part.result["in_use"], f"announced, in use after {after}" if at else f"new nodes in use: {after}", "start")

    def draw(self):
        for part in (self.frame, self.down, self.bars, self.marks):
            yield from part()


def both(down):
    """The overlaps of the spans of the two servers."""
    first, second = down
    for a, b in first:
        for c, d in second:
            if max(a, c) < min(b, d):
                yield max(a, c), min(b, d)


def legend(y):
    x = WIDTH - RIGHT
    for kind, words, width in (("down", "both down", 92), ("second", "api-2", 66), ("first", "api-1", 66)):
        x -= width
        yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" class="{kind}"/>' + text(x + 17, y, words)


def draw(path, parts, since, until):
    peak = max([1] + [n for part in parts for t, n in total(part)])
    most = -(-int(peak * 1.05) // 500) * 500
    height = TOP + len(parts) * PANEL + (len(parts) - 1) * GAP + 58
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    failed = [f"{part.result['failed']:,}" for part in parts]
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
           "<title>Three storage nodes come back: as it was, with libsafestart, and when they are not announced</title>", f"<style>{STYLE}</style>",
           f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="card"/>',
           text(LEFT, 36, "Three storage nodes come back within a minute", "title"),
           text(LEFT, 58, f"Failed requests: {failed[0]} as it was, {' and '.join(failed[1:])} with libsafestart")]
    svg += legend(58)
    for number, part in enumerate(parts):
        svg += Panel(part, TOP + number * (PANEL + GAP), since, until, most).draw()
    axis = "seconds since the first announcement; at the bottom: since the first node was back (a second stands for a minute)"
    svg += [text((LEFT + WIDTH - RIGHT) / 2, height - 16, axis, "", "middle"), "</svg>"]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(svg) + "\n")


def total(part):
    """Requests per second of both servers together, by quarters."""
    first, second = (dict(rows) for rows in part.rates)
    return [(t, first.get(t, 0) + second.get(t, 0)) for t in set(first) | set(second)]
