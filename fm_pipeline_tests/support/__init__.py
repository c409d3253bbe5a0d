"""What tests share: servers, databases, waiting. No tests in here."""
