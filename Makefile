# Everything there is to do in this checkout; `make` alone lists it.

PYTHON ?= python3
STACK ?= dev
# The stack's name reaches the recipes only as an environment variable, never as a piece of shell.
override STACK := $(value STACK)
STACKS := $(patsubst stacks/Pulumi.%.yaml,%,$(wildcard stacks/Pulumi.*.yaml))
# Where the picture goes; empty for .state/<stack>.html.
override FILE := $(value FILE)
# The dumps that a twin is made of, and whether it keeps names and pods on their nodes.
override FROM := $(value FROM)
# The pod or the claim that `why` is about.
override POD := $(value POD)
override CLAIM := $(value CLAIM)
override FORMAT := $(value FORMAT)
export STACK STACKS FILE FROM POD CLAIM FORMAT KEEP_NAMES KEEP_PLACEMENT
unexport MAKEFLAGS

ACTIVATE := . toolchain/activate
# The flags of toolchain/compiler.py, so that what the build compiled is not compiled again.
GO := cd toolchain/pulumi && CGO_ENABLED=0 GOFLAGS='-buildvcs=false -trimpath -gcflags=all=-dwarf=false' GOTOOLCHAIN=local GOWORK=off go
PYTEST := .venv/bin/python -m pytest --numprocesses auto
# An end-to-end test often waits for its cluster: one more of them than cores keeps the cores busy.
PYTEST_E2E := .venv/bin/python -m pytest --numprocesses $$(($$(nproc) + 1))

.PHONY: help up down preview status why picture twin dump catalogue tools tools-1.36 tools-kueue tools-jobset test soak lint audit lock bench clean venv venv-dev stack

help: ## list the targets
	@echo "make TARGET [STACK=dev] [TOOLS=system]"
	@sed -n 's/^\([a-z0-9.-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s %s\n' "  $$name" "$$text"; done

up: stack tools ## create or update the stack, from a fresh checkout to running claims
	@$(ACTIVATE) && pulumi stack select --create --stack "$$STACK" >/dev/null && pulumi up --yes --skip-preview --show-full-output --stack "$$STACK"

down: venv ## destroy everything that the stack created
	@$(ACTIVATE) && if said=$$(pulumi stack select --stack "$$STACK" 2>&1); then pulumi destroy --yes --skip-preview --stack "$$STACK"; else \
	case $$said in *"no stack named"*) echo "Nothing to destroy: there is no stack '$$STACK'." ;; *) echo "$$said" >&2; exit 1 ;; esac; fi

preview: stack tools ## show what `make up` would do
	@$(ACTIVATE) && pulumi stack select --create --stack "$$STACK" >/dev/null && pulumi preview --stack "$$STACK"

status: stack venv ## show pools and claims of the running stack, as they are right now
	@$(ACTIVATE) && .venv/bin/python -m views --stack "$$STACK" status

why: stack venv ## say why a pod of the running stack waits, node by node: POD=… or CLAIM=…; FORMAT=json
	@$(ACTIVATE) && case "$$POD/$$CLAIM" in /) echo "Which? make why POD=… or CLAIM=…; make status lists both." >&2; exit 2 ;; esac; \
	.venv/bin/python -m views --stack "$$STACK" why $${POD:+"--pod=$$POD"} $${CLAIM:+"--claim=$$CLAIM"} --format "$${FORMAT:-text}"

picture: stack venv ## draw the running stack as an HTML page, FILE=… or .state/<stack>.html
	@$(ACTIVATE) && .venv/bin/python -m views --stack "$$STACK" picture --file "$$FILE"

twin: venv ## make the stack STACK=… of a real fleet: FROM=dump.json of kubectl; KEEP_NAMES=1, KEEP_PLACEMENT=nodes or devices
	@.venv/bin/python -m twin --stack "$$STACK" read

dump: stack venv ## write the running stack as such a dump, FILE=… or .state/<stack>.dump.yaml
	@$(ACTIVATE) && .venv/bin/python -m twin --stack "$$STACK" dump --file "$$FILE"

catalogue: venv ## list the device models, and what of each is unverified; ARGS=--write for docs/catalogue/<driver>.md
	@.venv/bin/python -m views.catalogue $(ARGS)

tools: venv ## build the programs that no Python package carries, or check yours with TOOLS=system
	@.venv/bin/python toolchain/build.py

tools-1.36: tools ## build the control plane of Kubernetes 1.36 too, for tests across versions
	@.venv/bin/python toolchain/build.py cluster-1.36

tools-kueue: venv ## build Kueue, the queue of stacks with kwok-dra:queues
	@.venv/bin/python toolchain/build.py kueue

tools-jobset: venv ## build JobSet, for tests
	@.venv/bin/python toolchain/build.py jobset

test: tools tools-1.36 tools-kueue tools-jobset venv-dev ## run every test, end-to-end included; ARGS="-k name" for pytest
	@echo "Part 1 of $(if $(ARGS),2,3): Go"
	@$(GO) test ./pulumi-resource-command/...
ifdef ARGS
	@echo "Part 2 of 2: what ARGS names"
	@$(PYTEST) $(ARGS)
else
	@echo "Part 2 of 3: unit and graph tests"
	@$(PYTEST) tests/unit tests/graph
	@echo "Part 3 of 3: end-to-end tests"
	@$(PYTEST_E2E) tests/e2e
endif

soak: tools venv-dev ## kill stacks for hours, and go on where it was stopped: KILLS=1000 SEED=1 CYCLES=100 ORACLE=500 TWINS=all JOBS=2 PHASES= MINUTES=
	@.venv/bin/python -m tests.soak

lint: tools venv-dev ## check style and types of the Python, Go and shell code
	@.venv/bin/python -m ruff check
	@.venv/bin/python -m ruff format --check
	@.venv/bin/python -m mypy
	@said=$$(.venv/bin/lint-imports --no-logo --no-cache) || { echo "$$said" >&2; exit 1; }
	@$(GO) vet ./pulumi-resource-command/... ./pulumi-resource-kubernetes github.com/pulumi/pulumi-kubernetes/sdk/v4/...
	@bad=$$("$$(go env GOROOT)/bin/gofmt" -l toolchain) && test -z "$$bad" || { echo "Not formatted by gofmt: $$bad" >&2; exit 1; }
	@sh -n toolchain/activate

audit: tools venv-dev ## look for known vulnerabilities in the Python packages and the built programs
	@.venv/bin/python toolchain/audit.py

lock: venv-dev ## pin what requirements*.in need, with the hashes of all files of each release
	@for name in requirements requirements-dev; do UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt; done

bench: tools venv-dev ## measure beside other ways to the same result; ARGS="--parts page --runs 5", or --help
	@.venv/bin/python -m tests.bench $(ARGS)

clean: ## remove everything built and installed; stacks keep their state
	@clusters=$$(ls "$${KWOK_WORKDIR:-.state/kwok}/clusters" 2>/dev/null | tr '\n' ' '); test -z "$$clusters" || { \
	echo "Not while there are clusters: $${clusters% }. Destroy them first: make down STACK=…" >&2; exit 1; }
	@rm -rf .tools .venv .hypothesis .pytest_cache .ruff_cache .mypy_cache
	@find . -path ./.state -prune -o -name __pycache__ -prune -exec rm -rf {} +
	@echo "Removed what was built and installed. Kept .state, the history of your stacks."

stack:
	@test -f "stacks/Pulumi.$$STACK.yaml" || { if test -f "Pulumi.$$STACK.yaml"; \
	then echo "Pulumi.$$STACK.yaml is not read: stack files are in stacks/. Move it: mv Pulumi.$$STACK.yaml stacks/"; \
	else echo "There is no stacks/Pulumi.$$STACK.yaml. The stacks: $$STACKS"; fi >&2; exit 1; }

venv: .venv/installed

venv-dev: .venv/installed-dev

.venv/installed: requirements.txt
	@found=$$($(PYTHON) --version 2>&1) || found=none; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Python 3.11 or newer is needed, found: $$found. See https://www.python.org/downloads/, or name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing the Python packages into .venv …"
	@$(PYTHON) -m venv .venv && .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt && touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	@echo "Installing the packages for tests and checks into .venv …"
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt && touch $@
