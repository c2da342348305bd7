#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws the points of a bench as an SVG, both axes logarithmic: plot.py POINTS.tsv TITLE X-AXIS Y-AXIS OURS > OUT.svg
OURS is the series that is drawn thick."""
import html
import math
import sys

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 210, 48, 48
COLOURS = ['#0b6e4f', '#c1121f', '#1d4e89', '#b5651d', '#6a4c93', '#52796f', '#7f7f7f', '#d4a017']


def read(path):
    """Series in the order of their first points; if a point comes twice, the last one counts."""
    series = {}
    with open(path, encoding='utf-8') as file:
        for line in file:
            name, x, y = line.rstrip('\n').split('\t')
            series.setdefault(name, {})[float(x)] = float(y)
    return series


def scale(values, low, high):
    """Maps a value to a coordinate, logarithmically, up to the next power of ten (or of two, for a small range)."""
    first, last = math.floor(math.log10(min(values)) * 2) / 2, math.ceil(math.log10(max(values)) * 2) / 2
    last = max(last, first + 0.5)
    return lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)


def short(value):
    for size, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= size:
            return f'{value / size:g}{unit}'
    return f'{value:g}'


def ticks(values):
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0 ** power for power in range(first, last + 1)]


def draw(series, title, x_axis, y_axis, ours):
    xs = sorted({x for points in series.values() for x in points})
    ys = [y for points in series.values() for y in points.values()]
    to_x, to_y = scale(xs, LEFT, WIDTH - RIGHT), scale(ys, HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{html.escape(title)}</text>',
           f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_axis)}</text>',
           f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{html.escape(y_axis)}</text>']
    for y in ticks(ys):
        if TOP <= to_y(y) <= HEIGHT - BOTTOM:
            out.append(f'<path d="M{LEFT} {to_y(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="{LEFT - 6}" y="{to_y(y) + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x in xs:
        out.append(f'<text x="{to_x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x)}</text>')
    ends = sorted(((to_y(points[max(points)]), name) for name, points in series.items()))
    place = TOP - 16.0
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        line = ' '.join(f'{to_x(x):.1f},{to_y(y):.1f}' for x, y in sorted(points.items()))
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{3 if name == ours else 1.6}"/>')
        out += [f'<circle cx="{to_x(x):.1f}" cy="{to_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in sorted(points.items())]
    names = list(series)
    for y, name in ends:  # labels at the ends of the lines, not over each other
        place = max(place + 16, y + 4)
        i = names.index(name)
        weight = ' font-weight="bold"' if name == ours else ''
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{place:.1f}" fill="{COLOURS[i % len(COLOURS)]}"{weight}>{html.escape(name)}</text>')
    out.append('</svg>')
    return '\n'.join(out)


if __name__ == '__main__':
    print(draw(read(sys.argv[1]), *sys.argv[2:6]))
