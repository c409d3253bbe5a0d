"""Tests of `fm_pipeline.notifications.email_texts`."""
