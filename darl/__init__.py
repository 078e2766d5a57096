"""DARL-on-Ray: pretraining and sweeps for denoising autoregressive representation learning."""

from darl.experiment import Experiment
from darl.model.factory import create_model
from darl.model.register import register

__all__ = ["Experiment", "create_model"]
__version__ = "0.1.0"

register()  # `timm.create_model("darl_…")`, whichever of the two is imported first
