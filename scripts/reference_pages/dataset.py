"""dataset.md: the keys of DATASET.toml."""

from __future__ import annotations

from loren.data.dataset_card import DatasetCard, Review
from reference_pages.fields import key_entry, section_sentence
from reference_pages.markdown import NOTICE

_HEAD = """\
# DATASET.toml

Who answers for the rows, what may be done with them, and who looked at them. The file lies in the folder of the data. Training does
not ask for it; `loren check FILE --release` does ([rules D801 to D806](rules.md#d801-dataset-card-missing)), and names everything
that is missing or wrong at once. What it holds goes into `training_metadata.json` of every adapter that is trained on the rows, and
into the Croissant description that `loren check FILE --croissant OUT` writes.

```toml
# DATASET.toml
name = "library-mail"
version = "1.0.0"
owner = "Library service desk"
license = "LicenseRef-internal"
source = "Letters of 2025, rewritten by the service desk."
date = 2026-10-01

[consent_review]
by = "Data protection officer"
date = 2026-10-01
finding = "Readers agreed with form 12; letters of minors were left out."

[privacy_review]
by = "Service desk"
date = 2026-10-01
finding = "Read row by row after `loren check`: names, numbers and addresses are replaced."
```

An unknown key is a mistake. `TODO`, `n/a` and question marks are no answers.
"""


def dataset_page() -> str:
    """Every key of DATASET.toml."""
    parts = [NOTICE, _HEAD, "## Keys\n"]
    parts += [key_entry(name, field) for name, field in DatasetCard.model_fields.items() if field.annotation is not Review]
    parts += ["### [consent_review], [privacy_review]\n", section_sentence(Review), "Both are required.\n"]
    parts += [key_entry(name, field, level=4) for name, field in Review.model_fields.items()]
    return "\n".join(parts)
