"""How Sphinx makes the site: `python -m sphinx -W --keep-going -c docs . site`.

The source folder is the root of the project, so that README, changelog and the pages of
`docs/` are pages of the site as they stand, with the links that they have in the
repository. Nothing is fetched: the theme has its styles and fonts with it.
"""

import dask_pyramid

project = "dask-pyramid"
author = "The dask-pyramid developers"
project_copyright = author
version = release = dask_pyramid.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/**.md",
    "docs/*.md",
    "examples/**.md",
]
exclude_patterns = [".*", "src", "tests", "site", "build", "dist", "notebooks"]

# Links into pages are those of the repository: `#title-in-small-letters`.
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]

autodoc_typehints = "none"  # numpydoc's sections say the types, in words
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = project
html_extra_path = ["site"]  # the front page of the site: README
html_show_sourcelink = False
html_copy_source = False
