"""Loggers: the rows of metrics.jsonl in TensorBoard, Weights & Biases and MLflow."""
