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
	@.venv/bin/python scripts/histoscribe/farewell.py results/demo

# The README's pictures of the demo's report and viewer; needs Chromium.
screenshots: demo
	.venv/bin/python scripts/take_screenshots.py results/demo/report.html resources/images/demo_report.jpg
	.venv/bin/python scripts/take_screenshots.py "results/demo/viewer/section-3/index.html#colour=type_predicted" \
		resources/images/demo_viewer.jpg

# Files of tests take turns on two workers, whose threads give way to each other's.
test: $(INSTALLED)
	OMP_WAIT_POLICY=passive .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

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

# uv takes a minute where pip takes several; where uv can't be had or fails, pip it is. uv reads
# neither pip's configuration nor PIP_FIND_LINKS, and stops at a folder that is not there.
$(INSTALLED): envs/requirements.in envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "HistoScribe needs Python 3.11 or 3.12, but $(PYTHON) is %d.%d. Say which to use: make PYTHON=python3.11 $(MAKECMDGOALS)" % sys.version_info[:2])'
	@rm -f $@
	$(PYTHON) -m venv --clear .venv
	@if [ -d "$$PIP_FIND_LINKS" ]; then export UV_FIND_LINKS="$$PIP_FIND_LINKS"; fi; \
	pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"; \
	uv=$$(command -v uv) || { $$pip -c envs/constraints.txt uv && uv=.venv/bin/uv; }; \
	echo "installing with uv (a minute or two)"; \
	"$$uv" pip install --quiet --compile-bytecode --python .venv/bin/python \
		-c envs/constraints.txt -r envs/requirements.in || { \
		echo "uv failed; installing with pip (a few minutes)"; \
		$$pip -c envs/constraints.txt -r envs/requirements.in; \
	}
	@touch $@

clean:
	rm -rf .venv results .snakemake
