# SPDX-License-Identifier: Apache-2.0
"""The one way in which YAML is read: contract, guardrails, parameters, files of settings.

The safe loader, and besides: no key twice (the second would win silently), no aliases (a page of them can stand for
gigabytes), no text that is longer or deeper than anybody writes.

Numbers are read as YAML 1.2 and ROS read them. PyYAML follows YAML 1.1, which takes ``3e-1`` and ``1e5`` for texts: it
wants a decimal point and a signed exponent.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from jepa_ros.errors import JepaRosError

#: Any of our texts is a page or two; more is a mistake, or an attack on the parser.
MOST_CHARACTERS = 200_000
#: Each costs some 50 us to read, twice. Whoever waits for a text of the greatest length waits no longer than for these.
MOST_VALUES = 20_000
#: Mappings and lists within each other; the parser would end in a RecursionError at about 300.
MOST_DEPTH = 40


class YamlError(JepaRosError):
    """A text that is no YAML, or not of the kind that is read here; the message says where and why."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which besides refuses a key that is given twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable) or key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


#: What YAML 1.1 misses of the floats of YAML 1.2 (10.3.2): those with an exponent, in whatever way it is written.
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def refuse_length(text: str | bytes, where: str, error: type[JepaRosError] = YamlError) -> None:
    """Raise ``error`` for a text that is too long to be looked at."""
    if len(text) > MOST_CHARACTERS:
        raise error(f"{where}: {len(text)} characters; expected at most {MOST_CHARACTERS}")


def load_yaml(text: str | bytes, where: str, error: type[JepaRosError] = YamlError) -> Any:
    """Plain data from YAML text.

    Args:
        where: what messages call the text. error: the type to raise.

    Raises:
        JepaRosError: of type ``error``: too long or deep, too many values, a key twice, an alias, or no YAML in UTF-8.
    """
    refuse_length(text, where, error)
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        depth = 0
        for count, event in enumerate(yaml.parse(decoded, Loader=_Loader)):
            if count > MOST_VALUES:
                raise error(f"{where}: more than {MOST_VALUES} values, lists and mappings")
            if isinstance(event, yaml.AliasEvent):
                raise error(f"{where}: YAML aliases (*name) are not accepted: write the values out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise error(f"{where}: mappings and lists more than {MOST_DEPTH} deep")
        return yaml.load(decoded, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise error(f"{where}: not valid YAML: {' '.join(str(problem).split())[:300]}") from None


def load_mapping(text: str, where: str, error: type[JepaRosError] = YamlError) -> dict[str, Any]:
    """A mapping with texts as keys; an empty text is an empty mapping. Raises as :func:`load_yaml` does."""
    found = load_yaml(text, where, error)
    found = {} if found is None else found
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise error(f"{where}: expected a mapping {{name: value}}, found {type(found).__name__}")
    return found
