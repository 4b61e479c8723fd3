"""Experiment trackers that follow a run: TensorBoard, MLflow, Weights & Biases.

Each tracker runs in its own process (`follow.py`). The process reads events.jsonl and ends after
the run, so a tracker that fails, hangs or crashes never affects the run.
"""
