"""Experiment trackers (TensorBoard, Weights & Biases, MLflow): a family with one file per tracker."""
