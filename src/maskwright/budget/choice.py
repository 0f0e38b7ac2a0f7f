"""What was chosen, and why, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskwright.budget.candidates import Candidate
from maskwright.budget.options import RESERVE, Budget

OUT_OF_TIME = "not tried for lack of time"
_SHOWN = 4


@dataclass(frozen=True)
class Tried:
    """A candidate that was looked at."""

    candidate: Candidate
    per_second: float | None
    """As measured; None where it was not."""
    why: str = ""
    """Why it was not measured."""

    def __str__(self) -> str:
        return f"{self.candidate.title} ({self.why or f'{self.per_second:.3g}/s'})"


@dataclass(frozen=True)
class BudgetChoice:
    """The model, input size, dtype and runtime that ``load(target_fps=...)`` has chosen."""

    budget: Budget
    """What was asked for."""
    candidate: Candidate
    per_second: float
    """Frames, or photographs, per second that it does here: the median, from decoded picture to masks."""
    reached: bool
    """Whether that is enough, with the reserve."""
    passed_over: Sequence[Tried]
    """More accurate ones that were not taken."""
    busy: bool = False
    """Whether other programs kept the machine busy while it was measured."""

    @property
    def cost(self) -> str:
        """What it gives up in accuracy against the same model at its own size in float32."""
        return self.candidate.cost

    @property
    def reason(self) -> str:
        """What was chosen, how fast it is, what it costs, what was passed over: one line."""
        parts = [
            f"{self.candidate.title}: {self.per_second:.3g} {self.budget.unit} here, {self._wanted}",
            self.cost if "instead of" in self.cost else f"{self.cost} ({self.candidate.standing})",
        ]
        if self.passed_over:
            shown = ", ".join(map(str, self.passed_over[-_SHOWN:]))
            more = len(self.passed_over) - _SHOWN
            parts.append(f"passed over: {f'{more} before, ' if more > 0 else ''}{shown}")
        if any(one.why == OUT_OF_TIME for one in self.passed_over):
            parts.append("with more seconds to measure (Budget.seconds) a better one may be found")
        if not self.reached and self.candidate.model.is_named:
            parts.append("without a name, other models on this machine are tried too")
        if self.busy:
            parts.append("other programs kept the machine busy while this was measured")
        return "; ".join(parts)

    @property
    def _wanted(self) -> str:
        return f"{self.budget.per_second:g} wanted with {RESERVE:.0%} of the time to spare"
