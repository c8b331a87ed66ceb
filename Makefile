# Run `make help`. Every target sets up what it needs; stamp files make the second time quick.

SHELL := /bin/sh
.DEFAULT_GOAL := help
# Two builds at once would only wait for cargo's lock, and a test report should come last, whole.
.NOTPARALLEL:
.DELETE_ON_ERROR:

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# A PYTHONPATH would put the user's packages in front of what the environments hold.
unexport PYTHONPATH PYTHONHOME
# Where rustup puts cargo, for shells that have not read its profile.
export PATH := $(PATH):$(HOME)/.cargo/bin

CODEX_VERSION := 0.163.0
# From npm, which not every machine has; tested as well where it is there.
NPM_CODEX_VERSION := 0.169.0
# What `make test-matrix` tries besides.
OLDER_CODEX_VERSIONS := 0.138.0 0.147.0 0.154.0
MNGR_VERSION := 0.3.0
PUBLISHED_VERSION := 0.2.0
# Knows the trajectory format that mngr's transcripts follow; its own dependencies are not needed to validate.
HARBOR_VERSION := 0.25.0

# The environment that the project is installed in, and one for each thing that must not meet it.
MAIN := .venv
PUBLISHED := .venvs/published
MNGR := .venvs/mngr
CODEX := .venvs/codex
python = $(1)/bin/python
pip = $(call python,$(1)) -m pip install --quiet
# Prints the path of the codex binary.
codex = $(call python,$(CODEX)) -c 'import codex_cli_bin; print(codex_cli_bin.bundled_codex_path())'

# What an install is made from. Folders too: a file that was deleted changes its folder.
SOURCES := .cargo/config.toml Cargo.lock Cargo.toml README.md pyproject.toml \
	$(shell find build_backend python rust \( -name __pycache__ -o -name target \) -prune -o ! -name '*.so' -print)

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=/path/to/python3 names the Python (3.12 or newer) to make environments with."

.PHONY: install
install: $(MAIN)/installed ## Build the wheel (dist/) and install it into .venv

.PHONY: demo
demo: programs $(MAIN)/installed $(CODEX)/installed ## An agent's whole life, real mngr and codex with a scripted model; LOGIN=1: with your login
	@$(call python,$(MAIN)) demo/demo.py --codex "$$($(codex))" $(if $(LOGIN),--login)

.PHONY: test
test: lint test-rust test-python test-npm ## Everything that a change must pass: lint, Rust and Python tests

.PHONY: test-rust
test-rust: toolchain ## Tests of the Rust crates
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked --no-tests=pass && cargo test --workspace --locked --doc; \
	else \
		cargo test --workspace --locked; \
	fi

.PHONY: test-python
test-python: $(MAIN)/installed $(PUBLISHED)/installed $(MNGR)/installed $(CODEX)/installed ## Tests of the installed wheel, program and package
	-@scripts/need tmux git rsync strace
	@MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" MNGR_CODEX_MNGR_PYTHON="$(CURDIR)/$(call python,$(MNGR))" \
		MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) -m pytest -rs
	@command -v strace >/dev/null || echo "make: SKIPPED: there is no strace, so no hook was killed at every call of the" \
		"system. On Debian and Ubuntu: apt install strace" >&2

# How tests are told of a codex from npm: what users have on PATH is a script for node.
npm_codex = $(1)=$(CURDIR)/.venvs/npm-codex-$(1)/node_modules/.bin/codex

.PHONY: test-npm
test-npm: $(MAIN)/installed
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory test-codex VERSIONS=$(NPM_CODEX_VERSION); else \
		echo "make: SKIPPED: there is no npm, so codex $(NPM_CODEX_VERSION) was not tested" >&2; fi

.PHONY: test-matrix
test-matrix: $(MAIN)/installed ## The end-to-end tests with older versions of codex, from npm
	@$(MAKE) --no-print-directory test-codex VERSIONS="$(OLDER_CODEX_VERSIONS)"

.PHONY: test-codex
test-codex: $(MAIN)/installed $(foreach version,$(VERSIONS),.venvs/npm-codex-$(version)/installed)
	@MNGR_CODEX_CODEXES="$(foreach version,$(VERSIONS),$(call npm_codex,$(version)))" \
		$(call python,$(MAIN)) -m pytest -rs tests/end_to_end

.PHONY: test-packaging
test-packaging: $(MAIN)/installed ## Slow: sdist, wheel from sdist and editable install, each built afresh
	@MNGR_CODEX_TEST_BUILDS=1 $(call python,$(MAIN)) -m pytest tests/packaging

.PHONY: torture
torture: toolchain $(MAIN)/installed ## 100,000 random schedules of following, which takes most of an hour, and a minute of all at once
	MNGR_CODEX_SECONDS_AT_ONCE=60 $(call python,$(MAIN)) -m pytest tests/following/test_at_once.py
	MNGR_CODEX_SCHEDULES=100000 cargo test --release --package mngr-codex-core --locked --lib follow::pass

.PHONY: lint
lint: toolchain $(MAIN)/installed ## Formatting, clippy, ruff, mypy, and the stub against the built module
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(call python,$(MAIN)) -m ruff check
	$(call python,$(MAIN)) -m ruff format --check
	$(call python,$(MAIN)) -m mypy
	$(call python,$(MAIN)) -m mypy.stubtest mngr_codex._core --mypy-config-file pyproject.toml

.PHONY: fmt
fmt: toolchain $(MAIN)/tools ## Format the code, and fix what ruff can fix
	cargo fmt --all
	$(call python,$(MAIN)) -m ruff check --fix
	$(call python,$(MAIN)) -m ruff format

.PHONY: bench
bench: $(MAIN)/installed $(PUBLISHED)/installed $(MNGR)/installed $(CODEX)/installed ## Speed, against the published plugin, mngr, `cp`, `cat` and `true`
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" $(call python,$(MAIN)) benches/run.py
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" $(call python,$(MAIN)) benches/run_hooks.py
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" MNGR_CODEX_MNGR_PYTHON="$(CURDIR)/$(call python,$(MNGR))" \
		$(call python,$(MAIN)) benches/run_follow.py
	MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) benches/run_agent.py
	$(call python,$(MAIN)) benches/run_transcript.py

.PHONY: clean
clean: ## Remove all that was built or installed here
	rm -rf target dist .demo .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find build_backend python demo tests benches \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +

# What mngr runs agents with; the tests that need it say so where it is missing.
.PHONY: programs
programs:
	@scripts/need tmux git rsync

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "Rust is needed, and there is no cargo on PATH or in ~/.cargo/bin." \
		"Get it from https://rustup.rs/" >&2; exit 1; }
	@set -- $${CC:-cc}; command -v "$$1" >/dev/null || { echo "A C compiler is needed (zstd is C), and there is no $$1." \
		"On Debian and Ubuntu: apt install gcc libc6-dev; on macOS: xcode-select --install" >&2; exit 1; }

# ---- environments. The stamp `created` stands for a Python that runs, `tools` and `installed` for what is in it.

%/created: scripts/find-python
	@echo "== $*: a new environment"
	@python=$$(scripts/find-python) && "$$python" -m venv --clear $*
	@touch $@

$(MAIN)/tools: $(MAIN)/created pyproject.toml
	@echo "== $(MAIN): development tools"
	@$(call pip,$(MAIN)) --upgrade 'pip>=25.1' # the first that knows dependency groups
	@$(call pip,$(MAIN)) --group dev
	@touch $@

# From the wheel that users get, and not editable, so that tests and benches see what is shipped.
$(MAIN)/installed: $(MAIN)/tools $(SOURCES) | toolchain
	@echo "== $(MAIN): mngr-codex (compiles, a minute or two when all of it is new)"
	@rm -f dist/mngr_codex-*.whl
	@PATH="$(CURDIR)/$(MAIN)/bin:$$PATH" $(call python,$(MAIN)) -m pip wheel --quiet --no-build-isolation --no-deps \
		--wheel-dir dist .
	@$(call pip,$(MAIN)) --force-reinstall --no-deps dist/mngr_codex-*.whl
	@$(call pip,$(MAIN)) dist/mngr_codex-*.whl # what it depends on, where that is missing
	@touch $@

$(PUBLISHED)/installed: $(PUBLISHED)/created Makefile
	@echo "== $(PUBLISHED): the published plugin"
	@$(call pip,$(PUBLISHED)) --no-deps imbue-mngr-codex==$(PUBLISHED_VERSION)
	@touch $@

$(MNGR)/installed: $(MNGR)/created Makefile
	@echo "== $(MNGR): mngr, and the trajectory validator"
	@$(call pip,$(MNGR)) imbue-mngr==$(MNGR_VERSION) pydantic
	@$(call pip,$(MNGR)) --no-deps harbor==$(HARBOR_VERSION)
	@touch $@

$(CODEX)/installed: $(CODEX)/created Makefile
	@echo "== $(CODEX): codex $(CODEX_VERSION)"
	@$(call pip,$(CODEX)) --no-deps openai-codex-cli-bin==$(CODEX_VERSION)
	@touch $@

.venvs/npm-codex-%/installed: Makefile
	@echo "== .venvs/npm-codex-$*: codex $*"
	@mkdir -p $(@D)
	@npm install --loglevel error --no-fund --no-audit --prefix $(@D) @openai/codex@$*
	@touch $@
