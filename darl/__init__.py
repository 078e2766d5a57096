"""DARL-on-Ray: pretraining and sweeps for denoising autoregressive representation learning."""

from darl.config import Experiment
from darl.factory import create_model

__all__ = ["Experiment", "create_model"]
__version__ = "0.1.0"
