"""Charts as inline SVG that keeps its text at one size at any width.

The svg element is as wide as its box and of a fixed height: x is in percent, y in pixels. What
needs a path (lines, bands) lies in a nested svg that is stretched, with strokes that do not scale.
Room for the axes is padding around the svg, which does not clip.
"""
