"""The documentation site: its settings, its pages, and the generator of its reference."""
