import os

__version__ = "0.1.0"

# Read when the libraries are loaded. OpenMP's threads wait for each other in a busy loop: where
# another program wants a core too, training would take many times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Every piece of a batch has a shape of its own, and oneDNN makes kernels for each, which the layers
# of a model share. It keeps those of the last thousand shapes, and torch what leads to them: memory
# would grow with the data by some hundred megabytes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
