"""The environment of a worker."""

from __future__ import annotations

import os
import sys

from experiments.processes import MARKER

_FROM_PARENT = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def clean_environment(scratch: str, marker: str, threads: int) -> dict[str, str]:
    """All the environment a worker gets: nothing that could hold a key, and a fixed string hash.

    Args:
        scratch: Its home and temporary folder.
        marker: By which its processes are found again.
    """
    inherited = {name: os.environ[name] for name in _FROM_PARENT if name in os.environ}
    # The fork checks of Apple's runtime would end the child of a process that imported what we import.
    darwin = {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"} if sys.platform == "darwin" else {}
    return {
        **darwin,
        "PATH": os.defpath,
        **inherited,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "HOME": scratch,
        "TMPDIR": scratch,
        "JOBLIB_TEMP_FOLDER": scratch,
        MARKER: marker,
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        # Waiting threads sleep. Spinning, the default, made folds tens of times slower where two slots, or
        # another program, wanted the same processors.
        "OMP_WAIT_POLICY": "passive",
        "KMP_BLOCKTIME": "0",
    }
