"""Generate the reference pages of the documentation site.

The pages are made from the language itself when the site is built: `pages.py` lists them. Only
`extension.py` and `formulas.py` import Sphinx.
"""
