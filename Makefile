# Makefile - builds, tests, checks, measures and installs Weft. `make help` lists what it can do.
#
#   build/release/{obj,lib,bin,unit,...}    one tree per flavour: release asan tsan ubsan coverage fuzz
#
# Sources are found by name, so a new file needs no line here:
#   kernel sched mem fs fs/fuse net    *.cc       -> lib/libweft-<folder>.a, linked in the order of the layers
#   tools/*_weft.cc weft.cc weftd.cc              -> bin/mkfs.weft, bin/weft ...; tools/weft_*.cc are weft's subcommands,
#                                                    any other tools/*.cc is shared by all of them
#   tests/<area>/**.cc                            -> unit/<area> (GoogleTest; area: kernel ... tools, crash, sim)
#   tests/fuzz/*_fuzz.cc                          -> fuzz/<name>: a replay of its corpus here, libFuzzer in the fuzz flavour
#   tests/bench/*_bench.cc                        -> bench/<name>; tests/support/*.cc is linked into all tests
# A change of flags or of a folder's list of files rebuilds what depends on it.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-builtin-variables
SHELL := /bin/bash

# All processors, unless told otherwise with -j (which make 4.3 does not show in MAKEFLAGS here: ask its command line).
ifeq ($(MAKELEVEL),0)
ifeq ($(shell tr '\0' '\n' </proc/$$PPID/cmdline | grep -E '^(-[A-Za-z]*j|--jobs)'),)
MAKEFLAGS += -j$(shell nproc)
endif
endif

FLAVOUR ?= release
B := build/$(FLAVOUR)
V ?=
quiet = $(if $(V),,@echo "  $(1)  $(@:$(B)/%=%)";)

GOALS := $(or $(MAKECMDGOALS),all)
# Goals that compile nothing: no packages, no stamps.
IDLE_GOALS := help clean stop uninstall
building := $(filter-out $(IDLE_GOALS),$(GOALS))

# --- Debian packages ---------------------------------------------------------------------------------------------
# An included makefile that make itself brings up to date before it reads on: so that packages are there before
# compilers are looked for. dpkg is asked again only when its data base has changed.
package_groups := $(strip build \
  $(if $(filter test check e2e test-bare,$(GOALS)),test) \
  $(if $(filter lint% format check asan tsan ubsan fuzz,$(GOALS))$(filter asan tsan ubsan fuzz,$(FLAVOUR)),lint) \
  $(if $(filter coverage,$(FLAVOUR) $(GOALS)),coverage) \
  $(if $(filter e2e,$(GOALS)),e2e) \
  $(if $(filter bench%,$(GOALS)),bench))
space := $(subst ,, )
ifneq ($(building),)
package_stamp := build/.packages/$(subst $(space),+,$(package_groups)).mk
include $(package_stamp)
$(package_stamp): tools/packages.sh $(wildcard /var/lib/dpkg/status)
	@tools/packages.sh $(package_groups)
	@mkdir -p $(@D) && touch $@
endif

# --- Compilers and flags -----------------------------------------------------------------------------------------
CCACHE := $(shell command -v ccache)
ifneq ($(filter asan tsan ubsan fuzz,$(FLAVOUR)),)
COMPILER := clang++-19
else
COMPILER := g++
endif
CXX := $(if $(CCACHE),ccache )$(COMPILER)
AR := ar

# initial-exec: thread_local is read anew through one accessor after a fiber migrates (sched/README.md).
CXXFLAGS := -std=c++23 -O2 -g1 -pthread -fno-omit-frame-pointer -ftls-model=initial-exec \
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough $(WERROR)
CPPFLAGS := -I. -MMD -MP
LDFLAGS := -pthread -Wl,--as-needed
LDLIBS := -lfuse3 -luring -lboost_context -lisal -lfmt
GTEST_LIBS := -lgtest_main -lgtest

sanitize.asan := -fsanitize=address -fsanitize-address-use-after-scope -DWEFT_ASAN=1
sanitize.tsan := -fsanitize=thread -DWEFT_TSAN=1
sanitize.ubsan := -fsanitize=undefined -fno-sanitize-recover=all
sanitize.fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
sanitize.coverage := --coverage -fprofile-update=atomic -O1
CXXFLAGS += $(sanitize.$(FLAVOUR))
LDFLAGS += $(filter-out -O1,$(sanitize.$(FLAVOUR)))

# $(call remember,FILE,TEXT): FILE holds TEXT, and is newer than before only if that changed.
same = $(and $(findstring x$(1)x,x$(2)x),$(findstring x$(2)x,x$(1)x))
remember = $(if $(call same,$(strip $(2)),$(file <$(1))),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(strip $(2))))

# --- What there is -----------------------------------------------------------------------------------------------
LAYERS := fs net mem sched kernel
sources.kernel := $(wildcard kernel/*.cc)
sources.sched := $(wildcard sched/*.cc)
sources.mem := $(wildcard mem/*.cc)
sources.fs := $(wildcard fs/*.cc fs/fuse/*.cc)
sources.net := $(wildcard net/*.cc)
main_sources := $(wildcard tools/*_weft.cc tools/weft.cc tools/weftd.cc)
subcommand_sources := $(wildcard tools/weft_*.cc)
sources.tools := $(filter-out $(main_sources) $(subcommand_sources),$(wildcard tools/*.cc))

TEST_AREAS := $(foreach area,kernel sched mem fs net tools crash sim,$(if $(wildcard tests/$(area)/*_test.cc tests/$(area)/*/*_test.cc),$(area)))
$(foreach area,$(TEST_AREAS),$(eval sources.test_$(area) := $(wildcard tests/$(area)/*.cc tests/$(area)/*/*.cc)))
sources.support := $(wildcard tests/support/*.cc)
fuzz_sources := $(wildcard tests/fuzz/*_fuzz.cc)
bench_sources := $(wildcard tests/bench/*_bench.cc)
sources.bench := $(filter-out $(bench_sources),$(wildcard tests/bench/*.cc))

object = $(patsubst %.cc,$(B)/obj/%.o,$(1))
archive = $(if $(sources.$(1)),$(B)/lib/libweft-$(1).a)
layer_archives := $(foreach layer,$(LAYERS),$(call archive,$(layer)))
# tools.a may be pulled in by tests/support, and all of them by any test.
test_archives := $(call archive,support) $(call archive,tools) $(layer_archives)

program = $(B)/bin/$(patsubst %_weft,%.weft,$(basename $(notdir $(1))))
PROGRAMS := $(foreach main,$(main_sources),$(call program,$(main)))
UNIT_TESTS := $(TEST_AREAS:%=$(B)/unit/%)
FUZZERS := $(fuzz_sources:tests/fuzz/%_fuzz.cc=$(B)/fuzz/%)
BENCHES := $(bench_sources:tests/bench/%_bench.cc=$(B)/bench/%)

OBJECTS := $(call object,$(main_sources) $(subcommand_sources) $(fuzz_sources) $(bench_sources) \
  $(wildcard tests/fuzz/replay.cc) $(foreach part,$(LAYERS) tools support bench $(TEST_AREAS:%=test_%),$(sources.$(part))))

ifneq ($(building),)
$(call remember,$(B)/flags,$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(LDFLAGS) $(LDLIBS))
$(foreach part,$(LAYERS) tools support bench $(TEST_AREAS:%=test_%),$(call remember,$(B)/lists/$(part),$(sources.$(part))))
$(call remember,$(B)/lists/subcommands,$(subcommand_sources))
endif

# --- Rules -------------------------------------------------------------------------------------------------------
.PHONY: all tools unit fuzzers benches
all: tools unit  ## build libraries, tools and unit tests (FLAVOUR=release|asan|tsan|ubsan|coverage, V=1 shows commands)
tools: $(layer_archives) $(PROGRAMS)
unit: $(UNIT_TESTS)
fuzzers: $(FUZZERS)
benches: $(BENCHES)

$(B)/obj/%.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(call quiet,CXX )$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c $< -o $@

define archive_rule
$(B)/lib/libweft-$(1).a: $(call object,$(sources.$(1))) $(B)/lists/$(1)
	@mkdir -p $$(@D)
	$$(call quiet,AR  )rm -f $$@ && $(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach part,$(LAYERS) tools support bench,$(if $(sources.$(part)),$(eval $(call archive_rule,$(part)))))

link = @mkdir -p $(@D); $(if $(V),set -x;,echo "  LINK  $(@:$(B)/%=%)";) \
  $(COMPILER) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1) $(LDLIBS)

define program_rule
$(call program,$(1)): $(call object,$(1)) $(call archive,tools) $(layer_archives)
	$$(link)
endef
$(foreach main,$(main_sources),$(eval $(call program_rule,$(main))))
$(B)/bin/weft: $(call object,$(subcommand_sources)) $(B)/lists/subcommands

define unit_test_rule
$(B)/unit/$(1): $(call object,$(sources.test_$(1))) $(if $(filter tools,$(1)),$(call object,$(subcommand_sources))) \
    $(test_archives) $(B)/lists/test_$(1)
	$$(call link,$(GTEST_LIBS))
endef
$(foreach area,$(TEST_AREAS),$(eval $(call unit_test_rule,$(area))))

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%_fuzz.o $(if $(filter fuzz,$(FLAVOUR)),,$(call object,tests/fuzz/replay.cc)) $(test_archives)
	$(call link,$(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer))

$(B)/bench/%: $(B)/obj/tests/bench/%_bench.o $(call archive,bench) $(test_archives)
	$(call link,-lbenchmark)

-include $(OBJECTS:.o=.d)
.SECONDARY: $(OBJECTS)

# --- Tests -------------------------------------------------------------------------------------------------------
.PHONY: test unit-tests crash sim e2e test-bare check asan tsan ubsan fuzz coverage
test: all fuzzers  ## build and run all tests; ends with "N passed, N failed, N skipped"
	@tests/run --build $(B) unit fuzz e2e-quick

unit-tests: unit  ## build and run the unit tests only
	@tests/run --build $(B) unit

asan tsan ubsan:  ## the unit tests under a sanitizer of clang-19
	@$(MAKE) --no-print-directory FLAVOUR=$@ unit-tests

# --- The rest ----------------------------------------------------------------------------------------------------
.PHONY: clean help
clean:  ## remove build/
	@if mountpoint -q build/run/mnt 2>/dev/null; then echo "build/run/mnt is mounted; make stop first" >&2; exit 1; fi
	rm -rf build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
