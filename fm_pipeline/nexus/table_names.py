"""Names of the tables of Nexus that have a part of their own. Those that FileMaker feeds are in the registry.

Their dependants are never listed: the catalogue has them.
"""

from __future__ import annotations

LETTERS = "letters_patientletter"
REMINDERS = "reminders"
DOCUMENTS = "documents_document"
BATCHES = "images_batch"
IMAGES = "images_image"
CONTENT_TYPES = "django_content_type"
# Never written; their digests are compared at the end. Other tables are watched by row counters.
SYSTEM_CONFIGURATION = ("clinics", "clinicians", "appointment_types", "funding_sources")
# The columns by which rows are recognized.
FILE_COLUMNS = (
    *((DOCUMENTS, "id"), (DOCUMENTS, "object_id"), (BATCHES, "id"), (BATCHES, "object_id")),
    *((IMAGES, "id"), (IMAGES, "batch_id")),
)
