#!/usr/bin/env python3
"""Circles between sibling modules of the workspace's crates.

Two modules below one parent must not know each other, directly or around a corner; a parent and its
children may. What a module knows: the paths that begin with `crate::` or `super::` in its files,
tests left out. Exit code 1 where there is a circle.

    scripts/circles.py [ROOT]
"""

import re
import sys
from pathlib import Path

PATH = re.compile(r"\b(crate|(?:super::)*super)::((?:\w+::)*)(\{|\w+|\*)")


def without_comments_and_tests(text):
    text = re.sub(r"//[^\n]*", "", text)
    return re.split(r"#\[cfg\(test\)\]\s*(?:pub\(\w+\) )?mod \w+ \{", text)[0]


def expand(text):
    """The paths of `use` trees, one by one.

    >>> list(expand("use crate::{a::b, c::{d, e}}; fn f() { super::super::g::h(); }"))
    [['crate', 'a', 'b'], ['crate', 'c', 'd'], ['crate', 'c', 'e'], ['super::super', 'g', 'h']]
    """
    for match in PATH.finditer(text):
        start, middle, last = match.groups()
        head = [start, *filter(None, middle.split("::"))]
        if last == "{":
            yield from (head + tail for tail in tree(text, match.end()))
        else:
            yield head + [last]


def tree(text, at):
    """The paths of the list that begins behind the brace before `at`."""
    depth, names, name = 1, [], ""
    while depth and at < len(text):
        char = text[at]
        depth += (char == "{") - (char == "}")
        if depth == 1 and char == ",":
            names.append(name)
            name = ""
        elif depth:
            name += char
        at += 1
    for name in names + [name]:
        words = re.match(r"\s*((?:\w+::)*)(\{|\w+)", name)
        if not words:
            continue
        head = [word for word in words[1].split("::") if word]
        if words[2] == "{":
            yield from (head + tail for tail in tree(name, words.end()))
        else:
            yield head + [words[2]]


def modules(source):
    """Each file below `source` as a module path."""
    for file in sorted(source.rglob("*.rs")):
        parts = list(file.relative_to(source).with_suffix("").parts)
        if parts[-1] in ("mod", "lib"):
            parts.pop()
        if parts != ["main"] and "tests" not in parts:
            yield tuple(parts), file


def known(own, path, all_modules):
    """The module that `path`, as written in module `own`, lies in.

    >>> known(("run", "web"), ["super", "tasks", "start"], {("run",), ("run", "tasks")})
    ('run', 'tasks')
    """
    if path[0] == "crate":
        full = path[1:]
    else:
        ups = path[0].count("super")
        full = list(own[: len(own) - ups]) + path[1:]
    while full and tuple(full) not in all_modules:
        full = full[:-1]
    return tuple(full)


def edges(source):
    found = dict(modules(source))
    for own, file in found.items():
        for path in expand(without_comments_and_tests(file.read_text())):
            other = known(own, path, found)
            shared = 0
            while shared < min(len(own), len(other)) and own[shared] == other[shared]:
                shared += 1
            if shared < len(own) and shared < len(other):
                yield own[: shared + 1], other[: shared + 1], file


def circles(graph):
    """Strongly connected components of more than one node.

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    [['a', 'b', 'c']]
    >>> circles({"a": {"b"}, "b": {"c"}})
    []
    """

    def reach(start):
        seen, waiting = set(), [start]
        while waiting:
            for other in graph.get(waiting.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return seen

    reached = {node: reach(node) for node in graph}
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def main():
    wrong = 0
    for source in sorted(Path(sys.argv[1] if len(sys.argv) > 1 else ".").glob("**/src")):
        if "target" in source.parts:
            continue
        graph, why = {}, {}
        for own, other, file in edges(source):
            graph.setdefault(own, set()).add(other)
            why.setdefault((own, other), set()).add(str(file))
        for circle in circles(graph):
            wrong += 1
            print(f"{source}: these modules know each other:")
            for own in circle:
                for other in sorted(graph[own] & set(circle)):
                    files = ", ".join(sorted(why[own, other]))
                    print(f"  {'::'.join(own)} knows {'::'.join(other)}: {files}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
