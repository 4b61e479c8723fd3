"""Experiment trackers that follow a run: TensorBoard, MLflow, Weights & Biases.

Each tracker runs in a process of its own (`follow.py`), which reads the run's events.jsonl and
ends when the run does. A tracker that fails, hangs or crashes therefore never touches the run.
"""
