"""`Finding` and `Verification`: what was looked at and what is wrong, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dask_pyramid.verify.rules import RULES, Severity
from dask_pyramid.verify.text import verification_html, verification_text

__all__ = ["Checked", "Finding", "Log", "Verification"]

# Of findings of one kind at one place, this many are told one by one.
_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, doubtful or worth knowing."""

    severity: Severity
    """``"error"``, ``"warning"`` or ``"note"``."""
    code: str
    """Which rule, such as ``"translation-wrong"``; stable between versions."""
    level: str
    """Path of the array or group in the store; empty for the image itself."""
    message: str
    """What was found, and what it should be."""
    part: str = ""
    """The object or region that it is about; empty for the whole level."""
    rule: str = ""
    """The rule in a few words, and where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was looked at of one level."""

    path: str
    """Path of the array in the store."""
    shape: tuple[int, ...]
    """Extent in voxels."""
    dtype: str
    """Data type."""
    objects: int
    """Storage objects that the level has if none is left out."""
    stored: int | None = None
    """Objects that are there; None if the store cannot be listed."""
    hashed: int = 0
    """Objects whose stored bytes were compared with the record."""
    blocks: int = 0
    """Boxes of voxels that were read."""
    compared: int = 0
    """Boxes that were recomputed from the level below and compared."""
    wrong: int = 0
    """Boxes that are not what they should be, or cannot be read."""
    bytes: int = 0
    """Bytes read of this level, decoded."""
    content: str = ""
    """What explains the content, and how that is known."""
    scale: tuple[float, ...] = ()
    """Spacing along each axis as stated; empty if it could not be read."""
    spatial: tuple[bool, ...] = ()
    """Which axes are those of space; empty if it is not known."""
    unit: tuple[str | None, ...] = ()
    """Unit of each axis as stated, or None; empty if the axes are not known."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify_pyramid`; prints as text, and as HTML in Jupyter."""

    location: str
    """Path or URL of the store, without secrets."""
    version: str
    """Version of OME-Zarr; empty if it does not say."""
    sample: str
    """How much was read: ``"structure"``, ``"full"``, or how many boxes of a level."""
    findings: tuple[Finding, ...]
    """What was found, errors first."""
    levels: tuple[Checked, ...]
    """What was looked at, for each level of the image and of its labels."""

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make the pyramid wrong."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that leave it usable."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings that are no faults."""
        return self._of("note")

    def _of(self, severity: str) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == severity)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values.

        Returns
        -------
        dict
            The fields, and `ok`.
        """
        return {
            "location": self.location,
            "version": self.version,
            "sample": self.sample,
            "ok": self.ok,
            "findings": [asdict(found) for found in self.findings],
            "levels": [
                {name: _plain(value) for name, value in asdict(level).items()}
                for level in self.levels
            ],
        }

    def __str__(self) -> str:
        return verification_text(self)

    def _repr_html_(self) -> str:
        return verification_html(self)


class Log:
    """Collects findings; of many of one kind the first few are told."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._parts: set[tuple[str, str, str]] = set()

    def add(self, code: str, message: str, *, level: str = "", part: str = "") -> None:
        """Note a finding.

        Parameters
        ----------
        code : str
            A code out of `RULES`.
        message : str
            What was found, and what it should be.
        level : str
            Path of the array or group in the store.
        part : str
            The object or region.
        """
        if part and (code, level, part) in self._parts:
            return
        self._parts.add((code, level, part))
        count = self._counts.get((code, level), 0)
        self._counts[code, level] = count + 1
        if count < _TOLD:
            rule = RULES[code]
            self._found.append(
                Finding(
                    severity=rule.severity,
                    code=code,
                    level=level,
                    message=message,
                    part=part,
                    rule=rule.source,
                )
            )

    def has(self, code: str, level: str) -> bool:
        """Return whether there is a finding of this kind at this place."""
        return (code, level) in self._counts

    def findings(self) -> tuple[Finding, ...]:
        """Return all findings, errors first, else in the order in which they came."""
        rest = [
            Finding(
                severity=RULES[code].severity,
                code=code,
                level=level,
                message=f"{count - _TOLD} more of these",
                rule=RULES[code].source,
            )
            for (code, level), count in self._counts.items()
            if count > _TOLD
        ]
        rank = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted([*self._found, *rest], key=lambda f: rank[f.severity]))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
