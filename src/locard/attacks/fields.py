"""What the settings of an attack may be: the rules of ``locard.fields``, which screens share."""

from __future__ import annotations

from locard.fields import Limits, Positive, Share, Whole, check_fields, setting_problems

__all__ = ["Limits", "Positive", "Share", "Whole", "check_fields", "setting_problems"]
