# Two commands: `make demo` runs the workflow on simulated sections, `make test` runs the tests.
# Both first make .venv from envs/requirements.in and envs/constraints.txt.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
INSTALLED := .venv/.installed
SNAKEMAKE := .venv/bin/snakemake
SOURCES := scripts tests

.PHONY: demo screenshots test benchmark lint vendor clean

demo: $(INSTALLED)
	$(SNAKEMAKE) --configfile config/demo/config.yaml --cores $(CORES) --nolock --quiet rules host
	@PYTHONPATH=scripts .venv/bin/python -m histoscribe.farewell results/demo

# The README's pictures of the demo's report and viewer; needs Chromium.
screenshots: demo
	.venv/bin/python scripts/take_screenshots.py results/demo/report.html resources/images/demo_report.jpg
	.venv/bin/python scripts/take_screenshots.py "results/demo/viewer/section-3/index.html#colour=type_predicted" \
		resources/images/demo_viewer.jpg

# Files of tests take turns on two workers, which fill two cores: one thread each for BLAS (jobs of
# the workflow get as many as their rule says), and other threads give way to each other's.
test: $(INSTALLED)
	OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

benchmark: $(INSTALLED)
	.venv/bin/python -m pytest tests/benchmarks -s

lint: $(INSTALLED)
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/snakefmt --check workflow
	$(SNAKEMAKE) --configfile config/demo/config.yaml --lint

# The viewer's libraries, fetched anew through npm at the versions of their table.
vendor: $(INSTALLED)
	PYTHONPATH=scripts .venv/bin/python -m histoscribe.viewer.vendored resources/viewer/vendor

$(INSTALLED): envs/requirements.in envs/without-dependencies.in envs/constraints.txt envs/install.sh
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "HistoScribe needs Python 3.11 or 3.12, but $(PYTHON) is %d.%d. Say which to use: make PYTHON=python3.11 $(MAKECMDGOALS)" % sys.version_info[:2])'
	@rm -f $@
	$(PYTHON) -m venv --clear .venv
	@sh envs/install.sh .venv
	@touch $@

clean:
	rm -rf .venv results .snakemake
