"""Lets tests import what lies in models/: data and scripts, and no package."""

from __future__ import annotations

import sys

from service.modelcards import MODELS_DIRECTORY

sys.path.insert(0, str(MODELS_DIRECTORY))
