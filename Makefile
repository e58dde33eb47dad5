# Every command sets up what it needs. `make help` lists them, CONTRIBUTING.md says what each costs.
BUILD = .venv/bin/python -m scripts.build

.PHONY: help demo test prepare docs preview lint bench faults clean

help:
	@echo "make demo       recall corrupted handwritten digits: a table, and figures/demo.png"
	@echo "make test       every check there is; make test ONLY=00_core is one notebook and its tests"
	@echo "make prepare    before a commit: export hamux/, run what has changed, write README.md"
	@echo "make docs       the site, into _docs/"
	@echo "make preview    serve the site, and rebuild it when a notebook is saved"
	@echo "make lint       style and types only"
	@echo "make bench      what retrieval costs: tables of ratios"
	@echo "make faults     before a release: faults put into a copy of hamux, and the tests that notice them"
	@echo "make clean      remove what was built, but not .venv"
	@echo "PYTHON=...      with any of these: the Python to use, 3.11 or newer, instead of python3"

demo:
	@sh scripts/setup.sh examples
	@mkdir -p figures
	@.venv/bin/hamux-demo --out figures/demo.png

test:
	@sh scripts/setup.sh dev
	@$(BUILD) test --only "$(ONLY)"

prepare docs preview lint:
	@sh scripts/setup.sh dev
	@$(BUILD) $@

bench faults:
	@sh scripts/setup.sh dev
	@.venv/bin/python -m scripts.$@

clean:
	rm -rf _build _docs build dist
