"""What the templates do with values that Django has no filter for."""
