.PHONY: setup test coverage programs lint format translations package docs quickstart mutants bench clean

PYTHON ?= python3
SENTENCE ?= 終電の車内で、新しいスマートフォンのカメラを試した。
VENV := .venv
BIN := $(VENV)/bin

# One stamp file: the environment is made again when the files that define it change. Python compiles a module when it first
# imports it, unless PYTHONDONTWRITEBYTECODE is set; `--no-compile` leaves out the thousands that nobody imports.
unexport PYTHONDONTWRITEBYTECODE
$(VENV)/installed: pyproject.toml mini/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing the packages into $(VENV); the first time, this takes a few minutes and prints nothing.'
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]' ./mini
	touch $@

setup: $(VENV)/installed

# Many tests wait for processes that they start, so one more than there are cores, and at most four: each takes gigabytes.
WORKERS := $(shell cores=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2); echo $$((cores < 3 ? cores + 1 : 4)))

# Each file's tests stay in one process, slow tests go alone and first; see tests/conftest.py.
test: setup programs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

# The same tests, with which lines and branches they run: a summary, and htmlcov/index.html.
coverage: setup programs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --cov --cov-report=term --cov-report=html

# The tests of report.html need a Chromium, those of tables.tex a LaTeX. They are installed only on a CI machine, where we
# are root on Debian; elsewhere a message says what is missing, and those tests are skipped.
PROGRAMS := chromium lualatex pdflatex pdftotext
LATEX := texlive-latex-recommended texlive-luatex poppler-utils fonts-ipaexfont-mincho
programs:
	@missing=$$(for program in $(PROGRAMS); do command -v $$program >/dev/null || echo $$program; done); \
	if [ -z "$$missing" ]; then :; \
	elif [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then \
		apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium fonts-liberation $(LATEX); \
	else echo "missing, so some tests of reports are skipped:" $$missing "(Debian: apt-get install chromium $(LATEX))"; fi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The catalogues of the report's words, updated from the code and compiled; it lists what is not translated.
translations: setup
	$(BIN)/python -m tests.translations

# The wheel and the source distribution, and the wheel of the included encoder, in dist/.
package: setup
	$(BIN)/python -m build
	$(BIN)/python -m build --wheel --outdir dist mini

$(VENV)/documented: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

# The documentation site in site/; a link that leads nowhere is an error. See website/.
docs: $(VENV)/documented
	$(BIN)/python -m website.pages build/website
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# A study of the embedded encoder on the sample corpus, its report, and its recommended run at work. No network is needed after
# `setup`. OPTIONS are further ones of `tanzaku study run`, such as OPTIONS='--set training.epochs=2'.
quickstart: setup
	$(BIN)/tanzaku study run studies/quickstart.toml --jobs 2 $(OPTIONS)
	$(BIN)/tanzaku pack runs/quickstart --out runs/quickstart/bundle --force
	$(BIN)/tanzaku classify runs/quickstart/bundle "$(SENTENCE)"
	$(BIN)/tanzaku study report runs/quickstart

# What no test notices; see CONTRIBUTING.md. The tool is no part of the development environment, since nothing else needs it.
mutants: setup
	$(BIN)/python -m pip install --quiet mutmut==3.8.1
	$(BIN)/mutmut run

# For a machine with nothing else to do; writes records/benchmarks and docs/performance.md. TEXTS=data/livedoor tokenizes
# the texts of that folder, prepared by `tanzaku data`, instead of the sample corpus; RESUME=yes goes on after an
# interruption.
bench: setup
	$(BIN)/python -m benchmarks $(if $(TEXTS),--texts $(TEXTS)) $(if $(RESUME),--resume) > /dev/null
	$(BIN)/python -m benchmarks.page

clean:
	rm -rf $(VENV) build dist site htmlcov runs mutants
