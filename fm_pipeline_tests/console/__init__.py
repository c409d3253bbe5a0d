"""Tests of the console, against `fm-pipeline serve` on a clinic."""
