# Everyday commands; `just` alone lists them. CONTRIBUTING.md has the set-up.

python := ".venv/bin/python"

_list:
    @{{just_executable()}} --list --unsorted

# create .venv with everything pinned
setup:
    python3 -m venv .venv
    {{python}} -m pip install -q -r constraints.txt
    {{python}} -m pip install -q --no-deps -e .

# run tests: `just test`, `just test tests/tables -k merge`
test *arguments:
    {{python}} -m pytest {{arguments}}

# run the slow tests as well: kills, simulation, power cuts (hours)
slow *arguments:
    {{python}} -m pytest -o faulthandler_timeout=4000 -m slow {{arguments}}

# draw faults of one line and see that a test notices each: `just sabotage --since HEAD^`, `--written NAME`
sabotage *options:
    {{python}} -m tests.sabotage {{options}}

# check style and types
lint:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    {{python}} -m mypy

# format the code and sort its imports
format:
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .

# run a benchmark: `just bench cpu`; without a name nearly all
bench *name:
    {{python}} -m benchmarks {{name}}

# write docs/datasets.md from the catalogue
datasets:
    {{python}} -m tools.catalogue > docs/datasets.md
    {{python}} -m tools.catalogue zh > docs/datasets.zh.md

# write docs/reference from the help, the JSON Schema and the docstrings
reference:
    {{python}} -m tools.reference

# print the drawing of docs/architecture.md and the figures of the import graph
rooms:
    {{python}} -m tests.support.import_graph

# do all that CI does, on a fresh clone's terms
ci:
    .ci/run
