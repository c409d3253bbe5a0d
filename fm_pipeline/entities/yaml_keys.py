"""Keys that stand twice in a YAML file: PyYAML would take the last one without a word."""

from __future__ import annotations

import yaml


def repeated_key(root: yaml.Node | None) -> yaml.ScalarNode | None:
    """Return the first key that its mapping has already, at any depth; None if there is none.

    Args:
        root: as `yaml.compose` returns it. An alias may lead back to a node that it stands in.
    """
    met: set[int] = set()

    def search(node: yaml.Node | None) -> yaml.ScalarNode | None:
        if node is None or id(node) in met:
            return None
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return next((found for each in node.value if (found := search(each))), None)
        keys: set[str] = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    return key
                keys.add(key.value)
            if found := search(value):
                return found
        return None

    return search(root)
