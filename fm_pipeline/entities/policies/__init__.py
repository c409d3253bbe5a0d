"""Policies that come with the pipeline: RULES_FILE may name one of them."""
