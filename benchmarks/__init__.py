"""What the speed and memory claims rest on: Tanzaku beside the thesis's scripts and plain transformers, in one run.

    python -m benchmarks            # everything; writes records/benchmarks/cpu.json, or gpu.json
    python -m benchmarks.page       # docs/performance.md from these records

Every measurement is a named function that gives one number (`suite.py`). All of them are called once a round, in turns,
so that a machine whose speed drifts treats all alike; a comparison is the median over the rounds of the quotient within
a round (`rows.py`).
"""
