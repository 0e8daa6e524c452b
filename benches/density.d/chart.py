"""Bars on a logarithmic scale, as SVG."""

import math

WIDTH, BAR, LEFT = 640, 22, 150


def bars(groups):
    """A picture of groups: [(title, [(label, value)])]."""
    lines, y = [], 10
    for title, rows in groups:
        decades = math.ceil(math.log10(max(value for _, value in rows)))
        lines.append(f'<text x="10" y="{y + 14}" class="title">{title} (logarithmic)</text>')
        y += 24
        top = y
        for label, value in rows:
            width = max(2.0, math.log10(max(value, 1)) / decades * (WIDTH - LEFT - 90))
            lines.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 4}"/>')
            lines.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 15}">{value:,.0f}</text>')
            y += BAR
        for decade in range(decades + 1):
            x = LEFT + decade / decades * (WIDTH - LEFT - 90)
            lines.append(f'<line x1="{x:.1f}" y1="{top - 2}" x2="{x:.1f}" y2="{y}"/>')
        y += 14
    style = ("text { font: 13px sans-serif; fill: #333 } .title { font-weight: bold } "
             "rect { fill: #4078c0 } line { stroke: #999; stroke-width: 0.5 }")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'viewBox="0 0 {WIDTH} {y}">\n<style>{style}</style>\n'
            '<rect width="100%" height="100%" style="fill: white"/>\n' + "\n".join(lines) + "\n</svg>\n")
