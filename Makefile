# Run `make help`. Every target sets up what it needs. Stamp files record what is already set up.

SHELL := /bin/sh
.DEFAULT_GOAL := help
# Parallel targets would only wait for cargo's lock and mix up the test reports.
.NOTPARALLEL:
.DELETE_ON_ERROR:

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# With a PYTHONPATH the user's packages would shadow those of the environments.
unexport PYTHONPATH PYTHONHOME
# rustup installs cargo here; shells that have not read its profile lack the entry. It comes first, because Debian's cargo,
# which `make wheels` installs, has neither clippy nor rustfmt.
export PATH := $(HOME)/.cargo/bin:$(PATH)

CODEX_VERSION := 0.163.0
# Installed from npm, and tested only if npm is available.
NPM_CODEX_VERSION := 0.171.0
# Tested by `make test-matrix` only.
OLDER_CODEX_VERSIONS := 0.138.0 0.147.0 0.154.0 0.169.0
MNGR_VERSION := 0.3.0
PUBLISHED_VERSION := 0.2.0
# mngr's other plugins, with which agents are tested.
SIBLINGS_VERSIONS := imbue-mngr-usage==0.2.0 imbue-mngr-autocompact==0.1.0 imbue-mngr-wait==0.2.0 \
	imbue-mngr-schedule==0.2.0 imbue-mngr-notifications==0.2.0 imbue-mngr-kanpan==0.3.0
# Validates the trajectory format (ATIF) of the transcripts, which works without the package's dependencies.
HARBOR_VERSION := 0.25.0

# Not in requirements-dev.lock, because zig alone is 80 MB and only `make wheels` needs it.
WHEEL_TOOLS := abi3audit==0.0.26 auditwheel==6.8.2 cargo-zigbuild==0.24.1 maturin==1.16.0 twine==7.0.0 uv==0.13.9 ziglang==0.17.1
# How many tests run at the same time. Most of them wait for Codex, tmux or a time limit, so it is more than one per core.
JOBS := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# `make install PROFILE=dev` compiles faster, because nothing is optimized.
PROFILE := release
# The checks are the same for both profiles, so `make lint` keeps the one that is installed.
ifeq ($(MAKECMDGOALS),lint)
PROFILE := $(or $(shell cat .venv/profile 2>/dev/null),release)
endif

# The project's environment, and separate ones for packages that must not share an environment with it.
MAIN := .venv
PUBLISHED := .venvs/published
MNGR := .venvs/mngr
SIBLINGS := .venvs/siblings
CODEX := .venvs/codex
python = $(1)/bin/python
pip = $(call python,$(1)) -m pip install --quiet
# A process that has run its share of the tests takes some of another one's.
pytest = $(call python,$(MAIN)) -m pytest -n $(JOBS) --dist worksteal -rs
# Prints the path of the codex binary.
codex = $(call python,$(CODEX)) -c 'import codex_cli_bin; print(codex_cli_bin.bundled_codex_path())'

# The files that a build depends on. Includes folders, because deleting a file changes only its folder's time stamp.
SOURCES := .cargo/config.toml Cargo.lock Cargo.toml README.md pyproject.toml \
	$(shell find build_backend python rust -name __pycache__ -prune -o ! -name '*.so' -print)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Set PYTHON=/path/to/python3 to choose the Python (3.12 or newer) of new environments."

.PHONY: install
install: $(MAIN)/installed ## Build the wheel (dist/) and install it into .venv; PROFILE=dev compiles faster, without optimization

# Makes Python import the package of the source tree with the module of the last debug build, and the tests run the program
# of that build.
DEBUG := MNGR_CODEX_PROGRAM=$(CURDIR)/target/debug/mngr-codex PYTHONPATH=$(CURDIR)/target/debug/python

# macOS has no option in Cargo.toml for an extension module's symbols, which the interpreter provides.
MODULE_FLAGS := $(if $(filter Darwin,$(shell uname)),-- -C link-arg=-undefined -C link-arg=dynamic_lookup)

.PHONY: debug
debug: toolchain ## Build without optimization and without a wheel, into target/debug, for your own runs of pytest
	cargo build --quiet --locked --package mngr-codex-cli
	cargo rustc --quiet --locked --package mngr-codex-python $(MODULE_FLAGS)
	@rm -rf target/debug/python && mkdir -p target/debug/python/mngr_codex
	@ln -s $(CURDIR)/python/mngr_codex/* target/debug/python/mngr_codex
	@ln -sf $(CURDIR)/target/debug/lib_core.$(if $(MODULE_FLAGS),dylib,so) target/debug/python/mngr_codex/_core.abi3.so

.PHONY: demo
demo: programs $(MAIN)/installed $(CODEX)/installed ## Run an agent from creation to destruction with a scripted model; LOGIN=1 uses your login
	@$(call python,$(MAIN)) demo/demo.py --codex "$$($(codex))" $(if $(LOGIN),--login)

# Tests the change as it is, without a wheel: debug builds of the program and of the module. The commands that compile come
# first, so that a compiler's error ends it within seconds. All 2,000 schedules of following would take half a minute.
.PHONY: check
check: toolchain $(MAIN)/tools ## Check a change in less than two minutes: format, lints, types, unit tests, conversion tests
	@scripts/timed $(MAKE) --no-print-directory check-untimed

.PHONY: check-untimed
check-untimed: toolchain $(MAIN)/tools
	cargo fmt --all --check
	$(call python,$(MAIN)) -m ruff check --quiet
	$(call python,$(MAIN)) -m ruff format --check --quiet
	cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
	$(call python,$(MAIN)) -m mypy
	MNGR_CODEX_SCHEDULES=200 cargo test --quiet --workspace --locked --lib --bins
	@$(MAKE) --no-print-directory debug
	$(DEBUG) $(call python,$(MAIN)) -m pytest -q -rs -m 'not slow' tests/conversion tests/plugin/home tests/plugin/test_config.py

.PHONY: test
test: lint test-rust test-python test-npm ## Run everything a change must pass: lint, Rust and Python tests

.PHONY: test-rust
test-rust: toolchain ## Test the Rust crates
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked --no-tests=pass && cargo test --workspace --locked --doc; \
	else \
		cargo test --workspace --locked; \
	fi

.PHONY: test-python
test-python: $(MAIN)/installed $(PUBLISHED)/installed $(MNGR)/installed $(SIBLINGS)/installed $(CODEX)/installed ## Test the installed wheel: the program and the package; TESTS=tests/plugin runs a part
	-@scripts/need tmux git rsync strace $(if $(filter Linux,$(shell uname)),ssh sshd busybox jq musl-gcc fish tcsh zsh)
	@MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" MNGR_CODEX_MNGR_PYTHON="$(CURDIR)/$(call python,$(MNGR))" \
		MNGR_CODEX_SIBLINGS_PYTHON="$(CURDIR)/$(call python,$(SIBLINGS))" MNGR_CODEX_CODEX="$$($(codex))" \
		$(pytest) $(TESTS)
	@command -v strace >/dev/null || echo "make: SKIPPED: the tests that kill a hook at each system call, because strace is" \
		"not installed (Debian, Ubuntu: \`apt install strace\`)" >&2
	@test "$$(id -u)" -eq 0 || echo "make: SKIPPED: the tests of remote hosts, because only root can make such hosts" \
		"(\`sudo make test-python TESTS=tests/end_to_end/test_remote*.py\`)" >&2

# One NAME=PATH entry of MNGR_CODEX_CODEXES: the Node script that npm installs, as users have it on PATH.
npm_codex = $(1)=$(CURDIR)/.venvs/npm-codex-$(1)/node_modules/.bin/codex

.PHONY: test-npm
test-npm: $(MAIN)/installed
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory test-codex VERSIONS=$(NPM_CODEX_VERSION); else \
		echo "make: SKIPPED: the tests with Codex $(NPM_CODEX_VERSION), because npm is not installed" >&2; fi

.PHONY: test-matrix
test-matrix: $(MAIN)/installed ## Run the end-to-end tests with older versions of Codex, from npm
	@$(MAKE) --no-print-directory test-codex VERSIONS="$(OLDER_CODEX_VERSIONS)"

.PHONY: test-codex
test-codex: $(MAIN)/installed $(SIBLINGS)/installed $(foreach version,$(VERSIONS),.venvs/npm-codex-$(version)/installed)
	@MNGR_CODEX_CODEXES="$(foreach version,$(VERSIONS),$(call npm_codex,$(version)))" \
		MNGR_CODEX_SIBLINGS_PYTHON="$(CURDIR)/$(call python,$(SIBLINGS))" \
		$(pytest) -m "not any_codex" tests/end_to_end

.PHONY: test-packaging
test-packaging: $(MAIN)/installed ## Slow: test clean builds of the sdist, the wheel from the sdist and an editable install
	@MNGR_CODEX_TEST_BUILDS=1 $(call python,$(MAIN)) -m pytest tests/packaging

.PHONY: test-aarch64
test-aarch64: toolchain $(MAIN)/installed $(CODEX)/installed ## Slow: test the program for Linux on aarch64 by qemu; needs root and Linux 6.7; TESTS=tests/conversion runs a part
	@scripts/need qemu-aarch64-static tmux git rsync sshd ssh
	@scripts/need-toolchain aarch64
	@MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) scripts/test_aarch64.py $(TESTS)

.PHONY: wheels
wheels: toolchain .venvs/wheels/installed ## Build and check the Linux wheels that this machine can build, into dist/wheels
	@for cpu in $(OTHER_CPUS); do \
		PATH="$(CURDIR)/.venvs/wheels/bin:$$PATH" scripts/need-toolchain $$cpu || exit 1; done
	-@scripts/need $(patsubst %,qemu-%-static,$(OTHER_CPUS))
	@$(call python,.venvs/wheels) scripts/wheels.py build dist/wheels

.PHONY: torture
torture: toolchain $(MAIN)/installed ## Very slow (an hour): 100,000 random schedules of following, 1,000,000 damaged rollouts
	MNGR_CODEX_SECONDS_AT_ONCE=60 $(call python,$(MAIN)) -m pytest tests/following/test_concurrency.py
	MNGR_CODEX_SCHEDULES=100000 cargo test --release --package mngr-codex-core --locked --lib follow::pass
	MNGR_CODEX_MUTATIONS=1000000 cargo test --release --package mngr-codex-core --locked --test mutations

# The last two commands use tools that `make` does not install. CI runs both, and also checks for security advisories,
# which needs the network.
.PHONY: lint
lint: toolchain $(MAIN)/installed ## Check formatting, spelling, lints, types, and the stub file against the built module
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(MAIN)/bin/typos
	$(call python,$(MAIN)) -m ruff check
	$(call python,$(MAIN)) -m ruff format --check
	$(call python,$(MAIN)) -m mypy
	$(call python,$(MAIN)) -m mypy.stubtest mngr_codex._core --mypy-config-file pyproject.toml
	@if command -v actionlint >/dev/null; then actionlint; else \
		echo "make: SKIPPED: GitHub workflows were not checked, because actionlint is not installed" >&2; fi
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; else \
		echo "make: SKIPPED: dependency licenses were not checked, because cargo-deny is not installed" >&2; fi

.PHONY: fmt
fmt: toolchain $(MAIN)/tools ## Format the code and apply ruff's fixes
	cargo fmt --all
	$(call python,$(MAIN)) -m ruff check --fix
	$(call python,$(MAIN)) -m ruff format

.PHONY: lock
lock: ## Update requirements-dev.lock after a change in pyproject.toml; UPGRADE=1 upgrades all packages
	@command -v uv >/dev/null || { printf '%s\n' 'make: cannot find uv' 'hint: run `pip install uv`' >&2; exit 1; }
	uv pip compile --quiet --group dev --universal --python-version 3.12 --generate-hashes $(if $(UPGRADE),--upgrade) \
		--custom-compile-command "make lock" --output-file requirements-dev.lock pyproject.toml

.PHONY: bench
bench: $(MAIN)/installed $(PUBLISHED)/installed $(MNGR)/installed $(CODEX)/installed ## Measure speed against the published plugin, mngr, `cp`, `cat` and `true`
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" $(call python,$(MAIN)) benches/run.py
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" $(call python,$(MAIN)) benches/run_hooks.py
	MNGR_CODEX_PUBLISHED_PYTHON="$(CURDIR)/$(call python,$(PUBLISHED))" MNGR_CODEX_MNGR_PYTHON="$(CURDIR)/$(call python,$(MNGR))" \
		$(call python,$(MAIN)) benches/run_follow.py
	MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) benches/run_agent.py
	MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) benches/run_observe.py
	$(call python,$(MAIN)) benches/run_transcript.py
	$(call python,$(MAIN)) benches/run_sessions.py
	MNGR_CODEX_CODEX="$$($(codex))" $(call python,$(MAIN)) benches/run_remote.py

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf target dist .demo .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find build_backend python demo tests benches \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +

# mngr needs these to run agents. Tests that need them are skipped with a hint if they are missing.
.PHONY: programs
programs:
	@scripts/need tmux git rsync

.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { printf '%s\n' "make: cannot find cargo on PATH or in ~/.cargo/bin" \
		"hint: install Rust from https://rustup.rs/" >&2; exit 1; }
	@set -- $${CC:-cc}; command -v "$$1" >/dev/null || { \
		printf '%s\n' "make: cannot find the C compiler $$1, which the zstd crate needs" \
		"hint: run \`apt install gcc libc6-dev\` (Debian, Ubuntu) or \`xcode-select --install\` (macOS)" >&2; exit 1; }

# The systems other than this machine's for which wheels carry the program: Linux on these CPUs.
OTHER_CPUS := $(filter-out $(if $(filter Linux,$(shell uname)),$(subst arm64,aarch64,$(shell uname -m))),x86_64 aarch64)

# ---- Environments. Stamps: `created` after making one, `tools` and `installed` after installing packages into it.

%/created: scripts/find-python
	@echo "== $*: a new environment"
	@python=$$(scripts/find-python) && "$$python" -m venv --clear $*
	@touch $@

# The lock file has hashes, so pip installs nothing else.
$(MAIN)/tools: $(MAIN)/created requirements-dev.lock
	@echo "== $(MAIN): development tools"
	@$(call pip,$(MAIN)) --requirement requirements-dev.lock
	@touch $@

# Changes if the next build uses another profile than the last one.
$(MAIN)/profile: $(MAIN)/created FORCE
	@test "$$(cat $@ 2>/dev/null)" = $(PROFILE) || echo $(PROFILE) > $@
FORCE:

# Installs the wheel, not an editable build, so that tests and benches run what users get. Calls the build backend directly,
# because pip shows nothing of cargo's progress.
$(MAIN)/installed: $(MAIN)/tools $(MAIN)/profile $(SOURCES) | toolchain
	@echo "== $(MAIN): mngr-codex, profile $(PROFILE)"
	@rm -f dist/mngr_codex-*.whl && mkdir -p dist
	@PATH="$(CURDIR)/$(MAIN)/bin:$$PATH" PYTHONPATH=build_backend $(call python,$(MAIN)) -B -c \
		'import mngr_codex_build; mngr_codex_build.build_wheel("dist", {"profile": "$(PROFILE)"})'
	@$(call pip,$(MAIN)) --force-reinstall --no-deps dist/mngr_codex-*.whl
	@$(call pip,$(MAIN)) dist/mngr_codex-*.whl # missing dependencies
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

$(SIBLINGS)/tools: $(SIBLINGS)/created Makefile
	@echo "== $(SIBLINGS): mngr with its other plugins"
	@$(call pip,$(SIBLINGS)) imbue-mngr==$(MNGR_VERSION) $(SIBLINGS_VERSIONS)
	@touch $@

# The same wheel as in the main environment.
$(SIBLINGS)/installed: $(SIBLINGS)/tools $(MAIN)/installed
	@echo "== $(SIBLINGS): mngr-codex"
	@$(call pip,$(SIBLINGS)) --force-reinstall --no-deps dist/mngr_codex-*.whl
	@$(call pip,$(SIBLINGS)) dist/mngr_codex-*.whl # missing dependencies
	@touch $@

$(CODEX)/installed: $(CODEX)/created Makefile
	@echo "== $(CODEX): Codex $(CODEX_VERSION)"
	@$(call pip,$(CODEX)) --no-deps openai-codex-cli-bin==$(CODEX_VERSION)
	@touch $@

.venvs/wheels/installed: .venvs/wheels/created Makefile
	@echo "== .venvs/wheels: zig, and the tools that build and check wheels"
	@$(call pip,.venvs/wheels) $(WHEEL_TOOLS)
	@touch $@

.venvs/npm-codex-%/installed: Makefile
	@echo "== .venvs/npm-codex-$*: Codex $*"
	@mkdir -p $(@D)
	@npm install --loglevel error --no-fund --no-audit --prefix $(@D) @openai/codex@$*
	@touch $@
