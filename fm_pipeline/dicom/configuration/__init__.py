"""What the administrator sets while everything runs, and below which folders a path may lie."""
