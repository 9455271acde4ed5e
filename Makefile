# Perennial's commands. `make` lists them. Nothing needs to be set up beforehand but python3 (3.11 or newer) and make;
# what is expensive is made once and kept in ${XDG_CACHE_HOME:-~/.cache}/perennial, under keys of its inputs' content.
#
# CLUSTER=local|kind|current   who provides the cluster (see cluster/README.md; by default the first that works)
# CLUSTER_NAME=perennial       its name
# KUBERNETES_VERSION=1.37.2    the local provider's version of Kubernetes
# REGISTRY=HOST/PATH           where CLUSTER=current pulls images from
# PYTHON=python3               the interpreter of the virtual environment

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Looked up before the virtual environment comes first on PATH: it can't be made anew by itself.
PYTHON ?= python3
override PYTHON := $(shell command -v $(PYTHON) || echo $(PYTHON))
VENV := .venv
CLUSTER_NAME ?= perennial
TESTS ?= tests
# So many tests at a time: those against a node mostly wait, those of pure code mostly compute.
JOBS ?= 2
PYTEST_ARGS ?=
export CLUSTER CLUSTER_NAME KUBERNETES_VERSION REGISTRY
# kubectl, helm and uv are linked into the virtual environment by `make setup`.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONUNBUFFERED := 1
export PYTHONSAFEPATH :=

.PHONY: help
help:  ## list the commands
	@echo "make COMMAND; the first run of demo or test also compiles Kubernetes (about 8 minutes on 2 cores)"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup:  ## make the virtual environment from the locks, with kubectl and helm in it
	@$(PYTHON) -m cluster.environment $(VENV)

.PHONY: check
check: setup  ## lint, types, layers, freshness of generated files
	ruff check .
	ruff format --check .
	MYPYPATH=.:operator mypy -p perennial -p cluster -p images -p gitops
	lint-imports
	python -m cluster.last_release --to build/last-release crds
	python -m perennial.schema --check --since build/last-release/crds
	python -m gitops --check

.PHONY: test
test: setup images  ## every level of tests: unit, API server, cluster, end to end
	python -m pytest $(TESTS) -n $(JOBS) --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: unit
unit: setup  ## the tests that need neither an API server nor a cluster
	python -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: api
api: setup  ## the tests against a real API server without a node
	python -m pytest tests/api $(PYTEST_ARGS)

.PHONY: e2e
e2e: setup images  ## the tests against a real node
	python -m pytest tests/e2e $(PYTEST_ARGS)

.PHONY: gitops-record
gitops-record: setup  ## record anew the objects that the tests of gitops/ go by
	python -m pytest tests/api/record_gitops.py $(PYTEST_ARGS)
	python -m gitops

.PHONY: faults
faults: setup  ## the whole fault matrix on a real API server (FAULTS=F1,F7 KINDS=Dataset: some of it)
	python tests/faults --faults "$(FAULTS)" --kinds "$(KINDS)" $(FAULTS_ARGS)

SECTIONS ?=
.PHONY: bench-scale
bench-scale: setup  ## how the operator scales, into build/bench/scale.json (SECTIONS=rss,takeover: some of it)
	@PYTHONPATH=operator:.:tests/api python tests/perf/bench_scale.py --sections=$(SECTIONS)

.PHONY: bench-collector
bench-collector: setup  ## how soon a collector brakes, how much it takes in (SECTIONS=brake: that alone)
	@PYTHONPATH=operator:.:tests/dataplane python tests/perf/bench_collector.py --sections=$(SECTIONS)

.PHONY: bench-docs
bench-docs: setup  ## write the figures of build/bench/scale.json into docs/performance.md
	@PYTHONPATH=operator:.:tests/api python tests/perf/figures.py build/bench/scale.json docs/performance.md

SEED ?= 1
CANARIES ?= 1000
GROUPS ?=
.PHONY: bench-decisions
bench-decisions: setup  ## how often decisions are wrong, into build/bench/decisions.json and docs/statistics.md (SEED=7 CANARIES=2000)
	@PYTHONPATH=operator:. OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/perf/bench_decisions.py \
	  --seed=$(SEED) --canaries=$(CANARIES) --groups=$(GROUPS)

.PHONY: faults-page
faults-page: setup  ## put the results of `make faults` into docs/reliability.md
	python tests/faults/results_page.py

.PHONY: demo
demo: setup images cluster  ## the flights example from its start to its end, on a cluster of its own
	@python -m cluster load
	@KUBECONFIG=$$(python -m cluster kubeconfig) python examples/flights/demo.py

.PHONY: cluster
cluster: setup  ## start a cluster (or find it running)
	@python -m cluster up

.PHONY: kubeconfig
kubeconfig:  ## print the path of the cluster's kubeconfig
	@$(PYTHON) -m cluster kubeconfig

.PHONY: cluster-down
cluster-down:  ## stop the cluster and remove it
	@$(PYTHON) -m cluster down

.PHONY: images
images: setup  ## build the images; their names end up in build/images.json and build/images.yaml
	@python -m images build

COMPILE = uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_31 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

.PHONY: lock
lock: setup  ## resolve the dependencies anew (UPGRADE=1: to their newest versions)
	cd requirements && $(COMPILE) $(if $(UPGRADE),--upgrade) --no-deps tools.in -o tools.txt
	cd requirements && $(COMPILE) $(if $(UPGRADE),--upgrade) dev.in -o dev.txt
	cd requirements && $(COMPILE) -c dev.txt operator.in -o operator.txt
	cd requirements && $(COMPILE) -c dev.txt server.in -o server.txt
	cd requirements && $(COMPILE) -c dev.txt server.in mlflow.in -o mlflow.txt
	cd requirements && $(COMPILE) -c dev.txt server.in flights.in -o flights.txt
	cd requirements && $(COMPILE) -c dev.txt router.in -o router.txt

.PHONY: clean
clean:  ## remove what was made in the repository (caches outside and clusters stay)
	rm -rf build dist $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
