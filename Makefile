# Every target below sets itself up in .venv, using python3, pip, make and a C compiler.
#
#   make train   train on the embedded digits and save model and learning curve to out/
#   make test    run the tests against the installed wheel
#   make bench   time kernels and networks against NumPy; report in out/ (QUICK=1: few rounds)
#   make peers   time networks against scikit-learn, PyTorch and JAX as well; report in out/
#   make wheel   build dist/*.whl
#   make lint    ruff, mypy, cython-lint, and the import order of the packages
#   make check-loops   check that products keep their sums in registers; needs objdump
#   make test-slow   tests that are exhaustive, long, or search with new examples each time
#   make soak    use everything at once for a long time, and look for what grows (MINUTES=20, SEED=0)
#   make fuzz    search for damaged files that are not refused as they should (MINUTES=30)
#   make sanitize   run tests of the native code under AddressSanitizer and UndefinedBehaviorSanitizer,
#                   with Cython's checks of indices (QUICK=1: in under a minute, once it is built)
#   make races   run tests of the native code, by teams of several workers, under ThreadSanitizer; needs
#                Clang 18 or newer and its OpenMP library (QUICK=1: a part of them)
#   make valgrind   run steps, predictions and files under valgrind's memcheck; needs valgrind
#   make pictures   redraw the reference pictures of fastnn.plots, tests/plots/pictures
#   make clean   remove everything that the other targets made

PYTHON ?= python3
# The full path, because .venv/bin comes first in PATH below.
INTERPRETER := $(shell command -v $(PYTHON))
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMPS := $(VENV)/stamps
# The peers take gigabytes, and few targets need them, so they have an environment of their own.
PEERS := .venv-peers
# The installed code is modified in this environment.
MUTANTS := .venv-mutants
# Pinned, because figures are compared and the next release may differ in size. It is installed
# before everything else, so that nothing requests another version.
TORCH := torch==2.13.0
# pip operates on an environment from outside, so that it need not be installed in it.
pip = PATH="$(BIN):$$PATH" $(INTERPRETER) -m pip --python $(1)/bin/python --disable-pip-version-check
PIP := $(call pip,$(VENV))
INSTALL := $(PIP) install --quiet --no-warn-script-location
INSTALL_MUTANTS := $(call pip,$(MUTANTS)) install --quiet --no-warn-script-location
INSTALL_PEERS := $(call pip,$(PEERS)) install --quiet --no-warn-script-location
# -P keeps the source tree out of sys.path, so that the installed wheel runs.
RUN := $(BIN)/python -P

SOURCES := $(shell find fastnn src_c -type f -not -name '*.pyc') \
  meson.build meson.options pyproject.toml README.md LICENSE

# Two processes run the tests, one file at a time and in a fixed order; then a single process runs
# those that measure time or start a thread per processor.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder -m "not alone"
ALONE := -m alone

# The output of a quick run must not be mistaken for a report.
BENCHMARK := out/benchmark$(if $(QUICK),-quick)

.PHONY: train test test-slow test-full sanitize races valgrind coverage fuzz mutate soak pictures bench peers wheel \
  lint check-loops clean

train: $(STAMPS)/plot
	@$(BIN)/fastnn train --output out

test: $(STAMPS)/test
	$(RUN) -m pytest tests $(IN_TWO)
	$(RUN) -m pytest tests $(ALONE)

test-slow: $(STAMPS)/test
	$(RUN) -m pytest tests --run-slow -m slow -n 2 --dist worksteal
	$(RUN) -m pytest tests/tabular/test_properties.py --hypothesis-profile=search -n 2

# Files that name a library which only $(PEERS) has; `make test` has run all others as they are. Those
# of kernels are here because tests/skips.toml names tests in them.
WITH_OPTIONAL = $(shell grep -rlwE 'torch|torch_helpers|polars|jax' tests --include='test_*.py') \
  tests/benchmarks tests/kernels/test_isa.py tests/kernels/test_kernel_inputs.py

# A test that is skipped even here must be listed in tests/skips.toml.
test-full: $(PEERS)/test
	$(PEERS)/bin/python -P -m pytest $(WITH_OPTIONAL) --no-unexpected-skips -n 2 --dist loadfile \
	  --no-loadscope-reorder
	$(PEERS)/bin/python -P -m pytest tests/docs tests/plots --run-slow -m slow -n 2

# Compiled code that checks itself replaces the installed one, by PYTHONPATH, in the environment of the
# tests. Python's own allocator would hide what lies beyond an array, and what Python never frees is
# not looked for. Tests that measure time or start another Python, which gets no such path, are not run.
SANITIZED := build/sanitized/site-packages
SANITIZERS = $(foreach one,asan ubsan,$(shell $(or $(CC),cc) -print-file-name=lib$(one).so))
SANITIZED_TESTS := $(if $(QUICK),tests/kernels/test_gather.py tests/kernels/test_optimizer_kernels.py \
  tests/program/test_program.py tests/api/test_fast_path.py tests/api/test_fast_batches.py,\
  tests/kernels tests/program tests/runtime tests/layers tests/training tests/api tests/data)

# A test asks for more memory than there is, and must get an error, not the end of the process.
sanitize: $(STAMPS)/sanitized $(STAMPS)/test
	PYTHONPATH="$(CURDIR)/$(SANITIZED)" PYTHONMALLOC=malloc LD_PRELOAD="$(SANITIZERS)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  $(RUN) -m pytest $(SANITIZED_TESTS) -q --capture=sys -p no:cacheprovider -m "not alone" $(ARGUMENTS)

# ThreadSanitizer knows what OpenMP does only from Archer, a tool of Clang's OpenMP library. What it is
# not to report, and why, stands in tools/races.supp. First it must see the races of a plan without
# barriers: 66 is the status of a process in which it has seen some. Left out are tests that fork, that
# start another Python, which gets the installed build, or that say how large a team is.
CLANG ?= $(firstword $(foreach one,clang-21 clang-20 clang-19 clang-18 clang,$(shell command -v $(one))))
of_clang = $(if $(CLANG),$(wildcard $(shell $(CLANG) -print-file-name=$(1))))
ARCHER = $(call of_clang,libarcher.so)
THREAD_SANITIZER = $(call of_clang,libclang_rt.tsan-$(shell uname -m).so)
NO_CLANG := "make races needs Clang 18 or newer with ThreadSanitizer, and its OpenMP library with Archer:" \
  "on Debian clang-19, libclang-rt-19-dev and libomp-19-dev. CLANG=... names another compiler."
RACING := build/races/site-packages
RACE_WORKERS := $(if $(QUICK),2,2 3)
RACE_TESTS := tests/program tests/runtime/test_turns.py tests/api/test_fast_path.py tests/api/test_fast_batches.py \
  tests/training/test_training.py tests/training/test_shared_models.py $(if $(QUICK),,tests/layers \
  tests/training/test_averages.py tests/training/test_optimizers.py tests/training/test_own_loop.py \
  tests/training/test_gradient_accumulation.py tests/training/test_gradients_of.py \
  tests/training/test_outputs.py tests/training/test_regularizers.py tests/training/test_sample_weight.py \
  tests/training/test_weight_decay_exclusions.py tests/training/test_scheduled_scalars.py \
  tests/data/test_sparse.py tests/api/test_model.py)
NOT_RACING := "not forked and not by_a_team"
WATCHED = PYTHONPATH="$(CURDIR)/$(RACING)" PYTHONMALLOC=malloc LD_PRELOAD="$(THREAD_SANITIZER)" \
  LD_LIBRARY_PATH="$(dir $(ARCHER))" OMP_TOOL_LIBRARIES="$(ARCHER)" \
  TSAN_OPTIONS="suppressions=$(CURDIR)/tools/races.supp external_symbolizer_path=$(shell \
  $(CLANG) -print-prog-name=llvm-symbolizer)"

races: $(STAMPS)/races $(STAMPS)/test
	$(WATCHED) $(RUN) tools/without_barriers.py > build/races/control.log 2>&1; test $$? = 66
	for workers in $(RACE_WORKERS); do $(WATCHED) $(RUN) -m pytest $(RACE_TESTS) --workers $$workers -q \
	  --capture=sys -p no:cacheprovider -k $(NOT_RACING) $(ARGUMENTS) || exit 1; done

valgrind: $(STAMPS)/test
	@command -v valgrind > /dev/null || { echo "make valgrind needs valgrind"; exit 1; }
	$(RUN) tools/memcheck.py

coverage: $(STAMPS)/test $(STAMPS)/coverage
	@mkdir -p out
	cd out && $(RUN) -m pytest ../tests -q -p no:cacheprovider $(IN_TWO) \
	  --cov=fastnn --cov-branch --cov-report=
	cd out && $(RUN) -m pytest ../tests -q -p no:cacheprovider $(ALONE) \
	  --cov=fastnn --cov-branch --cov-append --cov-report=term:skip-covered --cov-report=html:coverage

# Model files, then tables, half of the time each; what is found is in out/fuzz.
fuzz: $(STAMPS)/fuzz
	@mkdir -p out/fuzz
	cd out && $(RUN) ../tools/fuzz.py --output fuzz --kind model --minutes $$(( ($(or $(MINUTES),30) + 1) / 2 ))
	cd out && $(RUN) ../tools/fuzz.py --output fuzz --kind table --minutes $$(( ($(or $(MINUTES),30) + 1) / 2 ))

# make mutate N=20 SEED=3 ARGUMENTS="--file training/"
mutate: $(MUTANTS)/stamp
	$(MUTANTS)/bin/python -P tools/mutate.py --number $(or $(N),50) --seed $(or $(SEED),0) $(ARGUMENTS)

# make soak MINUTES=20 SEED=0
soak: $(STAMPS)/test
	$(RUN) tools/soak.py --minutes $(or $(MINUTES),20) --seed $(or $(SEED),0)

pictures: $(STAMPS)/test
	FASTNN_NEW_PICTURES=1 $(RUN) -m pytest -q tests/plots/test_plots_pictures.py

bench: $(STAMPS)/bench
	@mkdir -p out/histograms
	@echo "timing kernels and networks against NumPy: some minutes; progress in $(BENCHMARK).log"
	@FASTNN_BENCH_QUICK=$(QUICK) $(RUN) -m pytest benchmarks/test_kernels.py \
	  benchmarks/test_networks.py -q \
	  --benchmark-json=$(BENCHMARK).json --benchmark-histogram=out/histograms/time \
	  --benchmark-columns=median,iqr,rounds --benchmark-sort=fullname > $(BENCHMARK).log 2>&1 \
	  || { tail -30 $(BENCHMARK).log; exit 1; }
	$(RUN) benchmarks/report.py $(BENCHMARK).json $(BENCHMARK).md

# make peers ARGUMENTS="--cells 'adam: step 4-64*'" measures only those cells, into out/peers-part.
peers: $(PEERS)/stamp
	$(PEERS)/bin/python benchmarks/peers.py $(ARGUMENTS)
	@if [ -f out/peers.svg ]; then cp out/peers.svg docs/peers.svg; fi

wheel: $(STAMPS)/wheel
	@ls -l dist/*.whl

lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(BIN):$$PATH" cython-lint fastnn
	$(BIN)/mypy
	$(BIN)/lint-imports

check-loops: $(STAMPS)/wheel
	$(INTERPRETER) tools/check_inner_loops.py build/wheel

clean:
	rm -rf $(VENV) $(PEERS) $(MUTANTS) build dist out .pytest_cache .mypy_cache .ruff_cache .benchmarks

$(STAMPS)/venv:
	$(INTERPRETER) -m venv --without-pip $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

# The requirements of pyproject.toml's [build-system]. They stay in .venv and the objects in build/,
# so that a second build compiles only what has changed.
$(STAMPS)/build: $(STAMPS)/venv
	$(INSTALL) "meson-python>=0.17" "cython>=3.3" "numpy>=2" ninja
	@touch $@

$(STAMPS)/wheel: $(STAMPS)/build $(SOURCES)
	@mkdir -p build/wheel && rm -f dist/*.whl
	$(PIP) wheel --quiet --no-deps --no-build-isolation --config-settings=build-dir=build/wheel -w dist .
	@touch $@

$(STAMPS)/sanitized: $(STAMPS)/build $(SOURCES)
	@mkdir -p build/sanitized && rm -rf build/sanitized/wheel
	$(PIP) wheel --quiet --no-deps --no-build-isolation -w build/sanitized/wheel . \
	  --config-settings=build-dir=build/sanitized/objects \
	  --config-settings=setup-args=-Db_sanitize=address,undefined \
	  --config-settings=setup-args=-Db_lundef=false \
	  --config-settings=setup-args=-Dboundscheck=true --config-settings=setup-args=-Disas=v4,neon,plain
	rm -rf $(SANITIZED) && $(PIP) install --quiet --no-deps --target $(SANITIZED) $$(ls build/sanitized/wheel/*.whl)
	@touch $@

$(STAMPS)/races: $(STAMPS)/build $(SOURCES)
	@test -n "$(ARCHER)" -a -n "$(THREAD_SANITIZER)" || { echo $(NO_CLANG); exit 1; }
	@mkdir -p build/races && rm -rf build/races/wheel
	CC="$(CLANG)" $(PIP) wheel --quiet --no-deps --no-build-isolation -w build/races/wheel . \
	  --config-settings=build-dir=build/races/objects \
	  --config-settings=setup-args=-Db_sanitize=thread --config-settings=setup-args=-Db_lundef=false \
	  --config-settings=setup-args=-Dbuildtype=debugoptimized \
	  --config-settings=setup-args=-Disas=v4,neon,plain
	rm -rf $(RACING) && $(PIP) install --quiet --no-deps --target $(RACING) $$(ls build/races/wheel/*.whl)
	@touch $@

$(STAMPS)/installed: $(STAMPS)/wheel
	$(INSTALL) --force-reinstall --no-deps $(CURDIR)/$$(ls dist/*.whl)
	@touch $@

# One stamp for each extra of pyproject.toml.
$(STAMPS)/plot $(STAMPS)/test $(STAMPS)/bench $(STAMPS)/fuzz $(STAMPS)/lint: $(STAMPS)/%: $(STAMPS)/installed pyproject.toml
	$(INSTALL) "$(CURDIR)/$$(ls dist/*.whl)[$*]"
	@touch $@

$(STAMPS)/coverage: $(STAMPS)/venv
	$(INSTALL) "pytest-cov>=5"
	@touch $@

$(MUTANTS)/stamp: $(STAMPS)/wheel pyproject.toml
	test -d $(MUTANTS) || $(INTERPRETER) -m venv --without-pip $(MUTANTS)
	$(INSTALL_MUTANTS) --force-reinstall --no-deps $(CURDIR)/$$(ls dist/*.whl)
	$(INSTALL_MUTANTS) "$(CURDIR)/$$(ls dist/*.whl)[test]" "pytest-cov>=5"
	@touch $@

$(PEERS)/torch:
	test -d $(PEERS) || $(INTERPRETER) -m venv --without-pip $(PEERS)
	$(INSTALL_PEERS) "$(TORCH)"
	@touch $@

$(PEERS)/installed: $(PEERS)/torch $(STAMPS)/wheel
	$(INSTALL_PEERS) --force-reinstall --no-deps $(CURDIR)/$$(ls dist/*.whl)
	@touch $@

# Only a data file of the last two is read, so their dependencies are not installed.
$(PEERS)/stamp: $(PEERS)/installed pyproject.toml
	$(INSTALL_PEERS) "$(CURDIR)/$$(ls dist/*.whl)[peers]"
	$(INSTALL_PEERS) --no-deps mlxtend river
	@touch $@

$(PEERS)/test: $(PEERS)/installed pyproject.toml
	$(INSTALL_PEERS) "$(CURDIR)/$$(ls dist/*.whl)[test,full]"
	@touch $@
