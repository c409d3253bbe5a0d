"""What several commands use. A command does not belong here."""
