#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the Python that the virtual environment is made with: the one named as argument, else the first of 3.11, 3.10
# and 3.12 that is found and really starts. Says in one sentence what is missing otherwise. The order: PyBullet has no
# wheel for 3.12 and is compiled there.
set -u

works() { # a pyenv shim exists without the version behind it, so only starting it tells
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

wanted=${1:-}
if [ -n "$wanted" ]; then
  if ! works "$wanted"; then
    found=$("$wanted" --version 2>&1 | tail -n 1)
    echo "error: PYTHON=$wanted is not a Python 3.10, 3.11 or 3.12 (it says: $found)" >&2
    exit 1
  fi
  python=$wanted
else
  python=
  for candidate in python3.11 python3.10 python3.12 python3; do
    if works "$candidate"; then python=$candidate; break; fi
  done
  if [ -z "$python" ]; then
    echo "error: no Python 3.10, 3.11 or 3.12 was found (python3 is: $(python3 --version 2>&1 | tail -n 1));" \
      "install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make venv PYTHON=/path/to/python3.11" >&2
    exit 1
  fi
fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
  echo "error: $python ($version) cannot make virtual environments: apt install python$version-venv" >&2
  exit 1
fi
if [ "$(uname -m)" != x86_64 ]; then
  echo "error: the ROS 2 wheels exist for x86-64 only (this is $(uname -m)): install ROS 2 Jazzy and build with colcon" >&2
  exit 1
fi
if [ "$version" = 3.12 ]; then
  if ! command -v g++ >/dev/null || [ ! -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
    echo "error: on Python 3.12 PyBullet is compiled, which needs a compiler and Python's headers:" \
      "apt install g++ python3.12-dev (or use Python 3.11: make venv PYTHON=python3.11)" >&2
    exit 1
  fi
  echo "note: on Python 3.12 PyBullet has no wheel and is compiled now: this takes several minutes, once" >&2
fi
echo "$python"
