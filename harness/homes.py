"""Which station of a cluster measures which model: one each, so that no figure is of two machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from .posts import Post, Posts

__all__ = ["Homes"]


class Homes:
    """The stations' models. One that is finished when the work is dealt has none, nor one that none may measure.

    Args:
        posts: The stations.
        has_work: Whether a model has cells that are not measured yet.
    """

    def __init__(self, posts: Posts, has_work: Callable[[str], bool] = lambda _model: True) -> None:
        self._posts, self._has_work = posts, has_work
        self._home: dict[str, Post] = {}
        self._left: dict[str, Post] = {}

    def of(self, model: str) -> Post | None:
        """The station that measures a model."""
        return self._home.get(model)

    def find(self, model: str, there: Mapping[str, int]) -> Post:
        """Give a model a station: where most of its cells are already, or else the one with the fewest models to do.

        The one that it left is the last to come into question, after others of its node; those that others left as
        well come late.

        Args:
            model: Its name.
            there: Cells that are there, by the machine that measured them.

        Raises:
            UsageError: No station may measure it.
        """
        loads = Counter(home.name for other, home in self._home.items() if self._has_work(other))
        shunned = Counter(post.node for post in self._left.values())
        left = self._left.get(model)

        def how_ill(post: Post) -> tuple[bool | int | str, ...]:
            own_node = left is not None and post.node == left.node
            return (
                -there.get(post.machine_id, 0),
                post is left,
                own_node,
                shunned[post.node],
                loads[post.name],
                post.node,
            )

        self._home[model] = min(self._posts.fit_for(model), key=how_ill)
        return self._home[model]

    def leave(self, model: str, post: Post) -> None:
        """A model could not be measured at this station."""
        self._left[model] = post

    def has_left(self, model: str) -> bool:
        """Whether there is a station at which it could not be measured."""
        return model in self._left

    def take_from(self, post: Post) -> list[str]:
        """The models that a station had; they have none now."""
        models = self.models_of(post)
        for model in models:
            del self._home[model]
        return models

    def models_of(self, post: Post) -> list[str]:
        """The models that a station measures."""
        return [model for model, home in self._home.items() if home is post]

    def told(self) -> Iterator[str]:
        """Who measures what, a sentence a station."""
        for post in self._posts.able:
            yield f"{post.name} measures {', '.join(self.models_of(post)) or 'nothing, and stands by'}."
