"""Order among things that need each other."""

from __future__ import annotations

# Without `typing`, which takes longer to import than most questions take to answer.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import TypeVar

    from anicca.store.path import StorePath

    Node = TypeVar("Node", StorePath, str)


def topological(needs: Mapping[Node, Collection[Node]]) -> list[Node]:
    """The keys of `needs`, each after those of them that it needs; to need oneself is fine. AniccaError on a circle.

    In the order of a depth-first walk, keys as given and needs sorted, which is how Nix sorts when keys are.
    """
    order: list[Node] = []
    done: set[Node] = set()
    under_way: set[Node] = set()
    for top in needs:
        stack = [top]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
            elif node in under_way:
                stack.pop()
                under_way.discard(node)
                done.add(node)
                order.append(node)
            else:
                under_way.add(node)
                open_ones = [n for n in sorted(needs[node], reverse=True) if n != node and n in needs and n not in done]
                circle = under_way.intersection(open_ones)
                if circle:
                    from anicca.errors import AniccaError  # noqa: PLC0415 (as above)

                    some = ", ".join(map(str, sorted(under_way)[:3]))
                    raise AniccaError(f"store objects need each other in a circle: {some}")
                stack += open_ones
    return order
