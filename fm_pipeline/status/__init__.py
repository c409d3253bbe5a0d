"""What can be asked at any time and changes nothing.

The last runs, one patient's data, whether files exist, what has changed since a plan.
"""
