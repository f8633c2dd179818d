"""The precision lab: what FP16 costs, operation by operation, and the least FP32 that is enough.

Four rooms, each of which uses those before it: ``virtual`` gives a model in FP32 any precision
without converting it, ``sensitivity`` says what each operation adds to the output error,
``placement`` what becomes of it where operations are split over the units of a machine, and
``tuning`` finds the cheapest set of FP32 operations that reaches a target.
"""
