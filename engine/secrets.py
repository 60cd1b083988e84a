"""Hiding secrets in what people see: the journal's arguments, plans, logs. Never in what the program gets back."""

from __future__ import annotations

from catalog.db import masking

MASK = masking.MASK
Veil = masking.Veil
found_in = masking.found_in
hidden = masking.hidden
hides = masking.hides
masked = masking.masked
masked_text = masking.masked_text
of_model = masking.of_model
spellings = masking.spellings
texts_in = masking.texts_in
