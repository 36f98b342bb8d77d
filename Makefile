# make demo    builds kperf into .venv and counts a real program
# make test    the same set-up, then the tests (ARGS="-k stat" chooses some)
# make test-vm the tests on Arm, in a guest that QEMU runs (tests/vm); ARGS as well, and
#              WHEEL=dist/... for a release's wheel in place of a build
# make lint    ruff, mypy, clang-format, mandoc
# make man     the manual, from the commands' help and man/src
# make format  ruff and clang-format, on the files themselves
# make wheel   release wheels for x86-64 and aarch64, in dist/
# make bench   figures side by side with perf
# make endure  sixteen threads under sanitizers, ten minutes of each
# PYTHON=python3.13 chooses the interpreter, PIPFLAGS=... is for the installation of kperf.

PYTHON ?= python3
VENV := .venv
LINT_VENV := build/lint
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet

SOURCES := pyproject.toml meson.build README.md LICENSE kperf/py.typed \
	$(wildcard csrc/*.[ch] kperf/*.py kperf/*.pyi kperf/*/*.py kperf_cli/*.py man/*.1)
# Kernel modules for the test machine keep to the kernel's style.
C_FILES = $(wildcard csrc/*.[ch]) $(shell find tests -path tests/vm -prune -o -name '*.[ch]' -print)
DEMO := kperf stat -- $(CC) -O2 -S -o /dev/null csrc/session.c

.PHONY: demo test test-vm wheel lint man format bench endure clean force
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@echo '$$ $(DEMO)'
	@$(BIN)/$(DEMO)

test: $(VENV)/.tests
	@$(BIN)/pytest $(ARGS)

# Status 77: this machine cannot run the guest. That is no failure, and must not look like a success.
test-vm: $(VENV)/.tests
	@tests/vm/run-tests -p $(CURDIR)/$(BIN)/python $(if $(WHEEL),-w $(WHEEL)) $(ARGS) || { \
		status=$$?; [ $$status = 77 ] || exit $$status; \
		echo '*** kperf: NOT RUN: the tests on Arm (make test-vm), for the reason above ***'; \
	}

wheel:
	@.ci/wheel

bench: $(VENV)/.installed
	@for bench in tests/bench/bench_*.py; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python $$bench $(ARGS) || exit; \
	done

endure: $(VENV)/.tests
	@KPERF_ENDURE_S=600 $(BIN)/pytest -s tests/endurance

man: $(VENV)/.installed
	@$(BIN)/python man/generate.py

lint: $(LINT_VENV)/.installed
	@$(CHECKERS)
	$(LINT_VENV)/bin/ruff check .
	$(LINT_VENV)/bin/ruff format --check .
	$(LINT_VENV)/bin/mypy
	@clang-format --dry-run -Werror $(C_FILES)
	mandoc -T lint man/*.1

format: $(LINT_VENV)/.installed
	@$(CHECKERS)
	$(LINT_VENV)/bin/ruff format .
	@clang-format -i $(C_FILES)

clean:
	rm -rf $(VENV) build dist .mesonpy-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find kperf kperf_cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up ----

define CHECKERS
for tool in clang-format mandoc; do command -v $$tool >/dev/null || { \
	echo "kperf: to check C and the manual, this is missing: $$tool" >&2; \
	echo "kperf: on Debian: apt-get install $$tool" >&2; \
	exit 1; \
}; done
endef

# What a build needs is looked for before it starts: all of it, each with the package that has it.
define NEEDED
lacking=; packages=; \
lack() { lacking="$$lacking$${lacking:+, }$$1"; packages="$$packages $$2"; }; \
python() { "$(PYTHON)" -c "$$1" 2>/dev/null; }; \
if ! python ''; then \
	lack "$(PYTHON)" "python3 python3-venv python3-dev"; \
elif ! python 'import sys; sys.exit(sys.version_info < (3, 9))'; then \
	lack "Python 3.9 or later ($(PYTHON) is older)" "python3 python3-venv python3-dev"; \
else \
	python 'import ensurepip, venv' || lack "Python's venv" python3-venv; \
	python 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' || \
		lack "Python.h" python3-dev; \
fi; \
for cc in $${CC:-cc gcc clang} ''; do command -v "$$cc" >/dev/null && break; done; \
if [ -z "$$cc" ]; then \
	lack "a C compiler" "gcc libc6-dev"; \
elif ! echo '#include <stdio.h>' | $$cc -E - >/dev/null 2>&1; then \
	lack "stdio.h" libc6-dev; \
fi; \
if [ -n "$$lacking" ]; then \
	echo "kperf: to build it, this is missing: $$lacking" >&2; \
	echo "kperf: on Debian: apt-get install$$packages" >&2; \
	exit 1; \
fi
endef

# Written anew, with a new environment, only where the interpreter is another one than last time.
$(VENV)/.python: force
	@$(NEEDED)
	@found=`"$(PYTHON)" -c 'import sys; print(sys.base_prefix, sys.version.split()[0])'`; \
	if [ "$$found" != "`cat $@ 2>/dev/null`" ]; then \
		"$(PYTHON)" -m venv --clear $(VENV) && echo "$$found" >$@; \
	fi

$(VENV)/.installed: $(VENV)/.python $(SOURCES)
	@echo 'Building kperf into $(VENV) ...'
	@$(BIN)/python $(PIP_INSTALL) $(PIPFLAGS) .
	@touch $@

# kperf is installed by now: pip only adds what its tests need.
$(VENV)/.tests: $(VENV)/.installed
	@$(BIN)/python $(PIP_INSTALL) 'kperf[test]'
	@touch $@

$(LINT_VENV)/.installed: pyproject.toml
	@$(NEEDED)
	@echo 'Installing the checkers into $(LINT_VENV) ...'
	@"$(PYTHON)" -m venv --clear $(LINT_VENV)
	@$(LINT_VENV)/bin/python $(PIP_INSTALL) '.[lint]'
	@touch $@
