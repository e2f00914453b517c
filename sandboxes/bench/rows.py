"""A line of the table: what was measured, beside what, and whether the bar is met."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`value` is what is compared with the bar, in `unit`; `ours` and `floor` are the figures that it comes from."""

    measure: str
    ours: str
    floor: str
    value: float
    unit: str = "x"
    most: float | None = None
    least: float | None = None

    @property
    def bar(self) -> str:
        if self.most is not None:
            return f"at most {self.most:g} {self.unit}"
        return f"at least {self.least:g} {self.unit}"

    @property
    def met(self) -> bool:
        if self.most is not None:
            return self.value <= self.most
        return self.least is not None and self.value >= self.least

    def as_dict(self) -> dict[str, str | float | bool]:
        return {
            "measure": self.measure,
            "ours": self.ours,
            "beside": self.floor,
            "value": round(self.value, 3),
            "unit": self.unit,
            "bar": self.bar,
            "met": self.met,
        }

    def cells(self) -> tuple[str, ...]:
        value = f"{self.value:.2f}" if self.value < 10 else f"{self.value:.0f}"
        return (self.measure, self.ours, self.floor, f"{value} {self.unit}", self.bar, "met" if self.met else "MISSED")
