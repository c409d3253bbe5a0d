"""What can be asked at any time and changes nothing: the last runs, one patient's data, whether files exist."""
