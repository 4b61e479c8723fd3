"""Settings of the documentation site: `sphinx-build -W --keep-going -n docs docs/_build`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for docs.generate

project = "ddspec"
author = "The ddspec authors"
version = release = installed_version("ddspec")

extensions = ["myst_parser", "docs.generate.extension"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "generate"]
# Otherwise `--json` would become a dash.
smartquotes = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
# "$DDSPEC_DATA, else $HOME" is not a formula.
myst_dmath_allow_space = False
myst_dmath_allow_digits = False

html_theme = "furo"
html_title = "ddspec"
html_math_renderer = "svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5fa3", "color-brand-content": "#1d5fa3"},
    "dark_css_variables": {"color-brand-primary": "#82b7f0", "color-brand-content": "#82b7f0"},
}
html_copy_source = False
html_show_copyright = False
