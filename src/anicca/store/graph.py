"""Order among things that need each other."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

from anicca.errors import AniccaError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from anicca.store.path import StorePath

Node = TypeVar("Node", bound="StorePath")


def topological(needs: Mapping[Node, Collection[Node]]) -> list[Node]:
    """The keys of `needs`, each after those of them that it needs; to need oneself is fine. AniccaError on a circle.

    Deterministic: among those that could come next, the order of `needs`.
    """
    waiting = {node: sum(1 for n in set(of) if n != node and n in needs) for node, of in needs.items()}
    needed_by: dict[Node, list[Node]] = {}
    for node, of in needs.items():
        for other in set(of):
            if other != node and other in needs:
                needed_by.setdefault(other, []).append(node)
    ready = deque(node for node, count in waiting.items() if not count)
    order: list[Node] = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for other in needed_by.get(node, ()):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    if len(order) != len(waiting):
        some = ", ".join(sorted(str(node) for node in needs.keys() - set(order))[:3])
        raise AniccaError(f"store objects need each other in a circle: {some}")
    return order
