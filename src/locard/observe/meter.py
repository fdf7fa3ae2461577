"""``Meter``: how often a model was asked, and how often it may be."""

from __future__ import annotations

from locard.errors import QueryBudgetSpent


class Meter:
    """The queries of one audited model, shared by every form in which it is handed on."""

    def __init__(self, budget: int | None) -> None:
        self.budget = budget
        self.spent = 0
        self.asked = False

    def spend(self, count: int) -> None:
        """Count these queries.

        Raises:
            QueryBudgetSpent: they do not fit, and none is counted.
        """
        if self.budget is not None and self.spent + count > self.budget:
            raise QueryBudgetSpent(
                f"{count} more queries are needed, but only {self.budget - self.spent} of {self.budget} are left. "
                f"Raise the budget or audit fewer records."
            )
        self.spent += count
