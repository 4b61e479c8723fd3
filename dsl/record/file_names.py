"""Names of the files that a run, a sweep and a reproduction leave in their folders.

| file | written by | holds |
|---|---|---|
| spec.toml | run, sweep | the spec as the user wrote it |
| resolved.toml | run | the spec with every default and every `--set` |
| plan.json | run | the plan, before the first step starts |
| record.json | run | what was done and what came out |
| events.jsonl | run | progress of every sitting, a JSON object per line |
| run.log | run | what a terminal showed of the progress, with dates |
| tensorboard/ | run --log tensorboard | the same progress as event files of TensorBoard |
| synthetic.h5 | run | the chosen synthetic set and all that training on it needs |
| whitening.h5 | run | the eigenvectors of the whitening, if the set is whitened |
| images/ | run | pictures of synthetic sets |
| figures/ | report | the numbers of every figure as CSV and JSON |
| report.html | run, sweep | the page |
| report_assets/ | report --assets | the pictures of the page |
| sweep.json | sweep | the swept values and the run folder of each |
| reproduction.json, reproduction.html | reproduce | the verdict on every number, and its page |

Users' scripts read these files, so the names do not change.
"""

SPEC_TOML = "spec.toml"
RESOLVED_TOML = "resolved.toml"
PLAN_JSON = "plan.json"
RECORD_JSON = "record.json"
EVENTS_JSONL = "events.jsonl"
RUN_LOG = "run.log"
TENSORBOARD = "tensorboard"
SYNTHETIC_H5 = "synthetic.h5"
WHITENING_H5 = "whitening.h5"
IMAGES = "images"
FIGURES = "figures"
REPORT_HTML = "report.html"
REPORT_ASSETS = "report_assets"
SWEEP_JSON = "sweep.json"
REPRODUCTION_JSON = "reproduction.json"
REPRODUCTION_HTML = "reproduction.html"

WRITTEN_FOLDERS = ("", IMAGES, FIGURES, REPORT_ASSETS)
"""The run folder and the folders in it."""
