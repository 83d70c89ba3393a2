"""Gives pip to the environment that runs this, from the wheel that comes with Python.

ansible-test makes an environment for each of its tests, and would fetch a script for this from a host of its own project.
"""

import ensurepip

ensurepip.bootstrap(upgrade=True, default_pip=True)
