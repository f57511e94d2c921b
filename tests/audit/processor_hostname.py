"""The hostname that a processor under test reports: ``[core] hostname_callable`` names a function."""

import os


def hostname() -> str:
    return os.environ["PROCESSOR_HOSTNAME"]
