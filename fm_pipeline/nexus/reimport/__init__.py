"""The one transaction of a reimport (delete, load, relink, validate), and the plan that shows it first.

`transaction.py` runs the phases in their order and does not commit. `plan.py` ties a permission to the plan it is for;
`plan_inputs.py` says what a plan depends on, and `stale_plan.py` refuses one that is stale. `delete_rows.py` deletes
what is gone.
"""
