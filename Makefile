# Every command sets up what it needs. `make help` lists them.
PYTHON ?= python3
BUILD = .venv/bin/python -m scripts.build
export PYTHON

.PHONY: help demo test prepare docs preview lint bench clean

help:
	@echo "make demo       recall corrupted handwritten digits: a table, and figures/demo.png"
	@echo "make test       every check there is; make test ONLY=00_core is one notebook and its tests"
	@echo "make prepare    before a commit: export hamux/, run the notebooks, write README.md"
	@echo "make docs       the site, into _docs/"
	@echo "make preview    serve the site, and rebuild it when a notebook is saved"
	@echo "make lint       style and types only"
	@echo "make bench      what retrieval costs: tables of ratios, in about three minutes"
	@echo "make clean      remove what was built, but not .venv"
	@echo "PYTHON=...      the Python to use, 3.11 or newer (now $(PYTHON))"

demo: .venv/examples
	@mkdir -p figures
	@.venv/bin/hamux-demo --out figures/demo.png

test: .venv/dev
	@$(BUILD) test --only "$(ONLY)"

prepare docs preview lint: .venv/dev
	@$(BUILD) $@

bench: .venv/dev
	@.venv/bin/python -m scripts.bench

clean:
	rm -rf _build _docs build dist

.venv/dev .venv/examples: pyproject.toml
	@sh scripts/setup.sh $(@F)
