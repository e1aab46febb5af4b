import os

# Before PyTorch is imported, here and in all processes that tests start: models of some thousand parameters are not
# worth a second thread, and the tests themselves share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
