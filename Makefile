# Makefile - builds, tests, checks, measures and installs Weft. `make help` lists what it can do.
#
#   build/release/{obj,lib,bin,unit,...}    one tree per flavour: release asan tsan ubsan coverage fuzz planted
#
# Sources are found by name, so a new file needs no line here:
#   kernel sched mem fs fs/check fs/fuse net *.cc       -> lib/libweft-<folder>.a, linked in the order of the layers
#   mem/interpose/*.cc                            -> lib/libweft-malloc.a; with mem/*.cc lib/libweft-mem.so, for LD_PRELOAD
#   tools/*_weft.cc weft.cc weftd.cc              -> bin/mkfs.weft, bin/weft ...; tools/weft_*.cc are weft's subcommands,
#                                                    any other tools/*.cc is shared by all of them
#   tests/<area>/**.cc                            -> unit/<area> (GoogleTest; area: kernel ... tools, crash, sim)
#   tests/crash/enumerate.cc                      -> crash/enumerate, with the rest of its folder
#   tests/fuzz/*_fuzz.cc                          -> fuzz/<name>: a replay of its corpus here, libFuzzer in the fuzz flavour
#   tests/bench/*_bench.cc                        -> bench/<name>; tests/e2e/*.cc -> tests/e2e/<name>, stand-alone helpers
#   tests/preload/*.cc                            -> tests/preload/<name>, stand-alone: the heap is preloaded into them
#   tests/trace/record.cc, replay.cc              -> lib/trace-record.so, tests/trace/replay
#   tests/support/*.cc                            -> lib/libweft-support.a, linked into all tests
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
IDLE_GOALS := help clean stop uninstall test-bare lint-layers lint-library lint-listed lint-documents lint-scripts
building := $(filter-out $(IDLE_GOALS),$(GOALS))

# --- Debian packages ---------------------------------------------------------------------------------------------
# An included makefile that make itself brings up to date before it reads on: so that packages are there before
# compilers are looked for. dpkg is asked again only when its data base has changed.
package_groups := $(strip build \
  $(if $(filter test test-library check,$(GOALS)),test) \
  $(if $(filter lint% format check asan tsan ubsan fuzz,$(GOALS))$(filter asan tsan ubsan fuzz,$(FLAVOUR)),lint) \
  $(if $(filter coverage,$(FLAVOUR) $(GOALS)),coverage) \
  $(if $(filter e2e,$(GOALS)),e2e) \
  $(if $(filter heap-programs,$(GOALS)),programs) \
  $(if $(filter jemalloc,$(HEAP)),jemalloc) \
  $(if $(filter bench%,$(GOALS)),bench))
space := $(subst ,, )
ifneq ($(building),)
package_stamp := build/.packages/$(subst $(space),+,$(package_groups)).mk
include $(package_stamp)
$(package_stamp): tools/packages.sh $(wildcard /var/lib/dpkg/status tests/e2e/quick)
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

# initial-exec: thread_local is read anew through one accessor after a fiber migrates.
CXXFLAGS := -std=c++23 -O2 -g1 -pthread -fno-omit-frame-pointer -ftls-model=initial-exec \
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough $(WERROR)
VERSION := 0.1.0
CPPFLAGS := -I. -DWEFT_SHORT_TRY $(if $(filter planted,$(FLAVOUR)),-DWEFT_PLANTED_BUGS=1) -MMD -MP -DWEFT_VERSION='"$(VERSION)"'
LDFLAGS := -pthread -Wl,--as-needed
LDLIBS := -lfuse3 -luring -lboost_context -lisal -lblkid -lfmt
# What a program does better with, and does without: tools/system_call_filter.cc asks for the same header.
ifneq ($(building),)
OPTIONAL_LIBS := $(shell $(COMPILER) -x c++ -fsyntax-only -include seccomp.h /dev/null 2>/dev/null && echo -lseccomp)
endif
# Whose heap the programs have. Ours has to be asked for: mem/README.md says what it brings.
HEAP ?= system
$(if $(filter weft jemalloc system,$(HEAP)),,$(error HEAP is weft, jemalloc or system, not $(HEAP)))
GTEST_LIBS := -lgtest_main -lgtest
# The heap counts instructions: no frame pointers. Nothing in it throws but operator new.
mem_flags := -fomit-frame-pointer -fno-builtin-malloc

sanitize.asan := -fsanitize=address -fsanitize-address-use-after-scope -DWEFT_ASAN=1
sanitize.tsan := -fsanitize=thread -DWEFT_TSAN=1
sanitize.ubsan := -fsanitize=undefined -fno-sanitize-recover=all
sanitize.fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
sanitize.coverage := --coverage -fprofile-update=atomic -O1
CXXFLAGS += $(sanitize.$(FLAVOUR))
CXXFLAGS += $(if $(filter asan tsan ubsan,$(FLAVOUR)),-DWEFT_LOCK_ORDER=1)
LDFLAGS += $(filter-out -O1,$(sanitize.$(FLAVOUR)))

# $(call remember,FILE,TEXT): FILE holds TEXT, and is newer than before only if that changed.
same = $(and $(findstring x$(1)x,x$(2)x),$(findstring x$(2)x,x$(1)x))
remember = $(if $(call same,$(strip $(2)),$(file <$(1))),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(strip $(2))))

# --- What there is -----------------------------------------------------------------------------------------------
LAYERS := fs net mem sched kernel
sources.kernel := $(wildcard kernel/*.cc)
sources.sched := $(wildcard sched/*.cc)
# In sched's archive is kernel as well, so that a user links one library; of both he gets what his program reaches.
inside.sched := $(sources.kernel)
sources.mem := $(wildcard mem/*.cc)
# malloc, operator new and their kin under their own names: apart, so that only who wants them links them.
sources.malloc := $(wildcard mem/interpose/*.cc)
sources.fs := $(wildcard fs/*.cc fs/check/*.cc fs/fuse/*.cc)
sources.net := $(wildcard net/*.cc)
main_sources := $(wildcard tools/*_weft.cc tools/weft.cc tools/weftd.cc)
subcommand_sources := $(wildcard tools/weft_*.cc)
sources.tools := $(filter-out $(main_sources) $(subcommand_sources),$(wildcard tools/*.cc))

# A program of its own beside the tests of its folder; what it is made of, they are made of, too.
enumerator_source := tests/crash/enumerate.cc
TEST_AREAS := $(foreach area,kernel sched mem fs net tools crash sim,$(if $(wildcard tests/$(area)/*_test.cc tests/$(area)/*/*_test.cc),$(area)))
$(foreach area,$(TEST_AREAS),$(eval sources.test_$(area) := $(filter-out $(enumerator_source),$(wildcard tests/$(area)/*.cc tests/$(area)/*/*.cc))))
sources.support := $(wildcard tests/support/*.cc)
fuzz_sources := $(wildcard tests/fuzz/*_fuzz.cc)
bench_sources := $(wildcard tests/bench/*_bench.cc)
sources.bench := $(filter-out $(bench_sources),$(wildcard tests/bench/*.cc))

object = $(patsubst %.cc,$(B)/obj/%.o,$(1))
archive = $(if $(sources.$(1)),$(B)/lib/libweft-$(1).a)
layer_archives := $(foreach layer,$(LAYERS),$(call archive,$(layer)))
# tools.a may be pulled in by tests/support, and all of them by any test; by those of the lower floors, only what these stand on.
test_archives := $(call archive,support) $(call archive,tools) $(layer_archives)
low_archives := $(call archive,support) $(call archive,sched) $(call archive,kernel)
mem_archives := $(call archive,mem) $(call archive,kernel)

program = $(B)/bin/$(patsubst %_weft,%.weft,$(basename $(notdir $(1))))
PROGRAMS := $(foreach main,$(main_sources),$(call program,$(main)))
UNIT_TESTS := $(TEST_AREAS:%=$(B)/unit/%)
ENUMERATOR := $(B)/crash/enumerate
FUZZERS := $(fuzz_sources:tests/fuzz/%_fuzz.cc=$(B)/fuzz/%)
BENCHES := $(bench_sources:tests/bench/%_bench.cc=$(B)/bench/%)

PRELOADED := $(patsubst %.cc,$(B)/%,$(wildcard tests/preload/*.cc))
E2E_HELPERS := $(patsubst tests/e2e/%.cc,$(B)/tests/e2e/%,$(wildcard tests/e2e/*.cc))

OBJECTS := $(call object,$(sources.malloc) $(enumerator_source) $(wildcard tests/e2e/*.cc tests/preload/*.cc) tests/trace/replay.cc $(main_sources) $(subcommand_sources) $(fuzz_sources) $(bench_sources) \
  $(wildcard tests/fuzz/replay.cc) $(foreach part,$(LAYERS) tools support bench $(TEST_AREAS:%=test_%),$(sources.$(part))))

ifneq ($(building),)
$(call remember,$(B)/flags,$(CXX) $(CXXFLAGS) $(CPPFLAGS) $(LDFLAGS) $(LDLIBS))
$(call remember,$(B)/lists/heap,$(HEAP))
$(call remember,$(B)/lists/mem_flags,$(mem_flags))
$(foreach part,$(LAYERS) malloc tools support bench $(TEST_AREAS:%=test_%),$(call remember,$(B)/lists/$(part),$(sources.$(part)) $(inside.$(part))))
$(call remember,$(B)/lists/subcommands,$(subcommand_sources))
$(call remember,$(B)/lists/optional,$(OPTIONAL_LIBS))
endif

# --- Rules -------------------------------------------------------------------------------------------------------
.PHONY: all tools unit fuzzers benches e2e-helpers
all: tools unit  ## build libraries, tools and unit tests (FLAVOUR=release|asan|tsan|ubsan|coverage, V=1 shows commands)
tools: $(layer_archives) $(PROGRAMS)
unit: $(UNIT_TESTS)
fuzzers: $(FUZZERS)
benches: $(BENCHES)
e2e-helpers: $(E2E_HELPERS)

$(B)/obj/%.o: %.cc $(B)/flags
	@mkdir -p $(@D)
	$(call quiet,CXX )$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c $< -o $@

$(B)/obj/tools/system_call_filter.o: $(B)/lists/optional

define archive_rule
$(B)/lib/libweft-$(1).a: $(call object,$(sources.$(1)) $(inside.$(1))) $(B)/lists/$(1)
	@mkdir -p $$(@D)
	$$(call quiet,AR  )rm -f $$@ && $(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach part,$(LAYERS) malloc tools support bench,$(if $(sources.$(part)),$(eval $(call archive_rule,$(part)))))

$(B)/obj/mem/%.o: CXXFLAGS += $(mem_flags) -fno-exceptions
$(call object,$(sources.mem) $(sources.malloc)): $(B)/lists/mem_flags
$(B)/obj/mem/interpose/operator_new.o: CXXFLAGS += -fexceptions

# The scheduler as a shared library: hidden symbols but for what the installed headers declare (sched/export.h).
SHARED_SCHED := $(B)/lib/libweft-sched.so.$(VERSION)
pic = $(patsubst %.cc,$(B)/pic/%.o,$(1))
pic_objects := $(call pic,$(sources.sched) $(inside.sched))
.PHONY: libraries
libraries: $(B)/lib/libweft-sched.a $(SHARED_SCHED) $(call archive,mem) $(call archive,malloc) $(SHARED_MEM)  ## libweft-sched and libweft-mem, static and shared
$(B)/pic/%.o: %.cc sched/export.h $(B)/flags
	@mkdir -p $(@D)
	$(call quiet,PIC )$(CXX) $(CPPFLAGS) $(CXXFLAGS) -fPIC -Wno-attributes -fvisibility=hidden -fno-semantic-interposition -include sched/export.h -c $< -o $@
# Of kernel only what sched reaches: through an archive.
$(B)/pic/kernel.a: $(call pic,$(inside.sched)) $(B)/lists/sched
	$(call quiet,AR  )rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(SHARED_SCHED): $(call pic,$(sources.sched)) $(B)/pic/kernel.a sched/exported.map $(B)/lists/sched
	$(call quiet,SO  )$(COMPILER) -shared $(LDFLAGS) -Wl,-soname,libweft-sched.so.$(firstword $(subst ., ,$(VERSION))) \
	  -Wl,--version-script=sched/exported.map -Wl,-z,defs -Wl,-Bsymbolic-functions -o $@ $(filter %.o %.a,$^) \
	  -lboost_context -luring -lisal
-include $(pic_objects:.o=.d)

# The heap for LD_PRELOAD: malloc and its kin, operators new and delete, and the C++ API. It needs libc alone, so that programs in C do
# not load the C++ library for it (WEFT_MEM_WEAK).
SHARED_MEM := $(B)/lib/libweft-mem.so
mem_pic_objects := $(call pic,$(sources.mem) $(sources.malloc))
$(B)/pic/mem/%.o: mem/%.cc $(B)/flags $(B)/lists/mem_flags
	@mkdir -p $(@D)
	$(call quiet,PIC )$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(mem_flags) -DWEFT_MEM_WEAK -fPIC -fvisibility=hidden -fno-semantic-interposition \
	  $(if $(findstring operator_new,$<),,-fno-exceptions) -c $< -o $@
$(SHARED_MEM): $(mem_pic_objects) $(B)/lists/mem $(B)/lists/malloc
	@mkdir -p $(@D)
	$(call quiet,SO  )$(subst g++,gcc,$(subst clang++,clang,$(COMPILER))) -shared $(LDFLAGS) -Wl,-soname,libweft-mem.so -Wl,--sort-section=name -Wl,-z,defs -Wl,-z,now -o $@ $(filter %.o,$^)
-include $(mem_pic_objects:.o=.d)

# A recorder of a program's calls, for LD_PRELOAD, and what replays them (tests/trace/trace.h).
TRACER := $(B)/lib/trace-record.so $(B)/tests/trace/replay
$(B)/lib/trace-record.so: $(B)/pic/tests/trace/record.o
	@mkdir -p $(@D)
	$(call quiet,SO  )$(COMPILER) -shared $(LDFLAGS) -o $@ $<
$(B)/pic/tests/trace/%.o: tests/trace/%.cc $(B)/flags
	@mkdir -p $(@D)
	$(call quiet,PIC )$(CXX) $(CPPFLAGS) $(CXXFLAGS) -fno-builtin -fPIC -c $< -o $@
$(B)/tests/trace/%: $(B)/obj/tests/trace/%.o
	$(link)
-include $(B)/pic/tests/trace/record.d

link = @mkdir -p $(@D); $(if $(V),set -x;,echo "  LINK  $(@:$(B)/%=%)";) \
  $(COMPILER) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1) $(LDLIBS) $(OPTIONAL_LIBS)

heap_archives.weft := $(call archive,malloc)
heap_link.weft := $(call archive,mem)
# Libraries call malloc, too, whether the program does or not.
heap_flags.weft := -Wl,-u,malloc,-u,mallinfo2,-u,_Znwm
$(PROGRAMS): LDFLAGS += $(heap_flags.$(HEAP))
heap_link.jemalloc := -Wl,--no-as-needed -l:libjemalloc.so.2 -Wl,--as-needed

define program_rule
$(call program,$(1)): $(call object,$(1)) $(call archive,tools) $(layer_archives) $(heap_archives.$(HEAP)) $(B)/lists/heap
	$$(call link,$$(heap_link.$(HEAP)))
endef
$(foreach main,$(main_sources),$(eval $(call program_rule,$(main))))
$(B)/bin/weft: $(call object,$(subcommand_sources)) $(B)/lists/subcommands

define unit_test_rule
$(B)/unit/$(1): $(call object,$(sources.test_$(1))) $(if $(filter tools,$(1)),$(call object,$(subcommand_sources))) \
    $(if $(filter kernel sched,$(1)),$(low_archives),$(if $(filter mem,$(1)),$(mem_archives),$(test_archives))) $(B)/lists/test_$(1)
	$$(call link,$(GTEST_LIBS))
endef
$(foreach area,$(TEST_AREAS),$(eval $(call unit_test_rule,$(area))))
$(ENUMERATOR): $(call object,$(enumerator_source) $(filter-out %_test.cc,$(sources.test_crash))) \
    $(foreach part,support fs sched kernel,$(call archive,$(part))) $(B)/lists/test_crash
	$(call link)
# Tests of the tools call the programs themselves, and those of the heap preload it into others.
$(B)/unit/tools: | $(PROGRAMS)
# (A sanitizer has a malloc of its own.)
$(B)/unit/mem: | $(if $(sanitize.$(FLAVOUR)),,$(SHARED_MEM) $(call archive,malloc) $(PRELOADED) $(TRACER))

$(B)/fuzz/%: $(B)/obj/tests/fuzz/%_fuzz.o $(if $(filter fuzz,$(FLAVOUR)),,$(call object,tests/fuzz/replay.cc)) $(test_archives)
	$(call link,$(fuzz_link))
fuzz_link = $(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer)
# The heap's stands on two floors only.
$(B)/fuzz/heap: $(B)/fuzz/%: $(B)/obj/tests/fuzz/%_fuzz.o $(if $(filter fuzz,$(FLAVOUR)),,$(call object,tests/fuzz/replay.cc)) $(mem_archives)
	$(call link,$(fuzz_link))

$(B)/bench/%: $(B)/obj/tests/bench/%_bench.o $(call archive,bench) $(test_archives)
	$(call link,-lbenchmark)

SCHED_BENCHES := $(filter $(B)/bench/sched%,$(BENCHES))
$(SCHED_BENCHES): $(B)/bench/%: $(B)/obj/tests/bench/%_bench.o $(call archive,sched) $(call archive,kernel)
	$(link)

-include $(OBJECTS:.o=.d)
.SECONDARY: $(OBJECTS) $(pic_objects) $(mem_pic_objects)

# Helpers of the end-to-end scripts stand alone: one file each, linked with nothing of ours.
$(B)/tests/e2e/%: $(B)/obj/tests/e2e/%.o
	$(link)

# So do programs that ours is preloaded into. One does on purpose what the compiler warns of.
$(B)/obj/tests/preload/%.o: CXXFLAGS += -fno-builtin
$(B)/obj/tests/preload/misuse.o: CXXFLAGS += -Wno-free-nonheap-object -Wno-use-after-free -Wno-mismatched-dealloc
$(B)/tests/preload/%: $(B)/obj/tests/preload/%.o
	$(link)

# --- Tests -------------------------------------------------------------------------------------------------------
.PHONY: test test-library unit-tests e2e test-bare check asan tsan ubsan fuzz coverage
test: all fuzzers libraries e2e-helpers  ## build, then run unit tests, fuzz corpora, the installed library and quick end-to-end tests; ends with a sum
	@tests/run --build $(B) unit fuzz library e2e-quick

test-library: libraries  ## programs built against the installed scheduler, and its examples
	@tests/run --build $(B) library

unit-tests: unit  ## the unit tests only (also: make build/release/unit/fs builds one folder's)
	@tests/run --build $(B) unit

e2e: tools e2e-helpers  ## all end-to-end tests on real mounts, also with a server that is killed; needs /dev/fuse, takes long
	@tests/run --build $(B) e2e

.PHONY: soak soak-sched extremes
soak-sched: $(B)/unit/sched  ## the scheduler's tests shuffled, on one CPU and on all, for SOAK_SECONDS (3600): a lost wake-up hangs a round (FLAVOUR=tsan, too)
	@bash tests/sched/soak.sh $<

soak: tools e2e-helpers  ## a mixed load for SOAK_SECONDS (3600): memory, descriptors and every file are as they should be (SEED repeats one)
	@WEFT_BIN=$(CURDIR)/$(B)/bin TEST_BIN=$(CURDIR)/$(B)/tests/e2e bash tests/e2e/soak.sh

extremes: tools e2e-helpers  ## ten million names in a folder, a million extents in a file, ten thousand folders below each other (PARTS chooses)
	@WEFT_BIN=$(CURDIR)/$(B)/bin TEST_BIN=$(CURDIR)/$(B)/tests/e2e bash tests/e2e/extremes.sh

HEAP_STEPS ?= 5000000
.PHONY: heap-long
heap-long: $(B)/unit/mem  ## the heap beside its model for HEAP_STEPS (five million) random calls, and as many handed between threads (WEFT_TEST_SEED)
	@WEFT_HEAP_STEPS=$(HEAP_STEPS) $< --gtest_filter='HeapModel.*:HeapThreads.BlocksHandedToOthers*'

.PHONY: heap-programs
heap-programs: $(SHARED_MEM) $(PRELOADED)  ## redis, sqlite3, python3, g++, node, git and postgres with our heap preloaded: the same output, and time and peak beside glibc's (PROGRAM_LOADS, ROUNDS)
	@WEFT_BUILD=$(CURDIR)/$(B) bash tests/preload/programs.sh $(PROGRAM_LOADS)

.PHONY: heap-misuse
heap-misuse: $(B)/unit/mem  ## every kind of misuse of the heap in a process of its own, in hardened and in fast mode, counted
	@WEFT_HEAP_MISUSE=all $< --gtest_filter='Hardened.*' --gtest_brief=1

CRASH_STATES ?= 10000000
CRASH_SECONDS ?= 600
.PHONY: crash crash-planted
crash: $(ENUMERATOR)  ## every legal state after a power cut, until CRASH_STATES (ten million) are seen or CRASH_SECONDS (600) are over
	@$(ENUMERATOR) --states $(CRASH_STATES) --seconds $(CRASH_SECONDS) $(CRASH_OPTIONS)

crash-planted:  ## bugs planted on purpose: how many states it takes to find each
	@$(MAKE) --no-print-directory FLAVOUR=planted build/planted/crash/enumerate
	@build/planted/crash/enumerate --planted all --seconds 120 $(CRASH_OPTIONS)

# The same bytes each time (seeded), and gzip -n keeps no time: what has changed shows in git.
.PHONY: images
images: build/release/unit/fs  ## make the golden images of images/manifest anew
	@WEFT_WRITE_IMAGES=images build/release/unit/fs --gtest_filter='GoldenImages.AreWrittenWhereAsked' --gtest_brief=1
	@gzip -9nf images/*.img && ls -l images

test-bare:  ## make test and make run in a bare Debian 12 made by debootstrap; needs root
	@bash tests/support/bare_debian.sh

asan tsan ubsan:  ## unit tests under a sanitizer of clang-19
	@WEFT_TEST_SECONDS=$${WEFT_TEST_SECONDS:-900} $(MAKE) --no-print-directory FLAVOUR=$@ unit-tests

.PHONY: faults
faults: $(B)/unit/fs  ## every fault point: each request failing or lying, each block rotten, each fill level (WEFT_TEST_SEED chooses other ones)
	@WEFT_FAULTS=all $< --gtest_filter='Fault*' --gtest_brief=1

FUZZ_SECONDS ?= 60
fuzz:  ## search with every fuzz target for FUZZ_SECONDS (60) each; findings go to build/fuzz/findings
	@$(MAKE) --no-print-directory FLAVOUR=fuzz fuzzers
	@mkdir -p build/fuzz/findings; status=0; \
	for source in $(fuzz_sources:tests/fuzz/%_fuzz.cc=%); do \
	  mkdir -p build/fuzz/corpus/$$source; echo "fuzz/$$source"; kept=tests/fuzz/corpus/$$source; \
	  build/fuzz/fuzz/$$source -max_total_time=$(FUZZ_SECONDS) -timeout=10 -artifact_prefix=build/fuzz/findings/$$source- \
	    -print_final_stats=1 -verbosity=0 build/fuzz/corpus/$$source $$([ -d $$kept ] && echo $$kept) || status=1; \
	done; exit $$status

coverage:  ## line coverage of the unit tests, as text and as build/coverage/report/index.html
	@$(MAKE) --no-print-directory FLAVOUR=coverage unit-tests
	@mkdir -p build/coverage/report
	gcovr -j $$(nproc) --root . --filter '(kernel|sched|mem|fs|net|tools)/' --object-directory build/coverage/obj \
	  --html-details build/coverage/report/index.html --print-summary build/coverage/obj

check:  ## all that should hold before a change lands: lint of everything, sanitizers, tests
	@$(MAKE) --no-print-directory -k lint LINT_ALL=1
	@for flavour in asan ubsan tsan; do echo "== $$flavour"; $(MAKE) --no-print-directory $$flavour || exit 1; done
	@$(MAKE) --no-print-directory test

# --- Lint --------------------------------------------------------------------------------------------------------
.PHONY: lint lint-layers lint-library lint-headers lint-listed lint-documents lint-format lint-scripts lint-tidy format
lint: lint-layers lint-library lint-headers lint-listed lint-documents lint-format lint-scripts lint-tidy  ## rules of the house; clang-tidy on changed files (LINT_ALL=1: on all)

lint-layers:  ## who includes whom
	@tests/lint/layers.sh

lint-library:  ## what the headers of the installed scheduler may bring along
	@tests/lint/library.sh

# Each header compiles alone. Stamps with dependencies, so that only what changed is tried again.
header_stamps := $(patsubst %,$(B)/lint/%.ok,$(wildcard $(foreach room,kernel sched mem fs fs/check fs/fuse net tools tests/support,$(room)/*.h)))
lint-headers: $(header_stamps)  ## headers that do not compile alone
$(B)/lint/%.ok: % $(B)/flags
	@mkdir -p $(@D)
	@$(COMPILER) $(CPPFLAGS) -MF $(@:.ok=.d) -MT $@ $(CXXFLAGS) \
	  -include $< -x c++ -fsyntax-only /dev/null && touch $@
-include $(header_stamps:.ok=.d)

# Every source is known to this file: a test in a folder that nobody builds would pass forever.
known_sources := $(sources.malloc) $(enumerator_source) $(main_sources) $(subcommand_sources) $(fuzz_sources) $(bench_sources) tests/fuzz/replay.cc \
  $(wildcard tests/e2e/*.cc tests/preload/*.cc tests/trace/*.cc tests/library/*.cc tests/bench/peers/*.cc sched/examples/*.cc) $(foreach part,$(LAYERS) tools support bench $(TEST_AREAS:%=test_%),$(sources.$(part)))
lint-listed:  ## sources and tests that nothing builds
	@lost='$(filter-out $(known_sources),$(shell find . -name '*.cc' -not -path './build/*' -not -path './.*' | sed 's,^\./,,'))'; \
	for source in $$lost; do echo "$$source: no rule of the Makefile builds it"; done; [ -z "$$lost" ]

lint-documents:  ## names in documents and comments that do not exist
	@tests/lint/documents.sh

lint-format:  ## layout other than .clang-format's
	@tests/lint/format.sh

lint-scripts:  ## shell syntax
	@for script in .ci/run tests/run $$(find tools tests -name '*.sh'); do bash -n $$script || exit 1; done

# The examples are seen through the installed library alone; tests are left to the warnings of the compilers and to the sanitizers.
# One stamp a source: looked at again when it, a header of ours that it includes, or .clang-tidy has changed. A changed
# header is looked at through its own source. (make -k lint: all findings, not only the first file's.)
tidy_changed = $(filter %.cc,$(1)) $(wildcard $(patsubst %.h,%.cc,$(filter %.h,$(1))))
tidy_sources = $(filter-out tests/% sched/examples/%,$(if $(LINT_ALL),$(known_sources),$(call tidy_changed,$(shell tests/lint/changed.sh))))
tidy_stamps := $(if $(filter lint lint-tidy,$(GOALS)),$(patsubst %.cc,$(B)/tidy/%.ok,$(sort $(tidy_sources))))
lint-tidy: $(tidy_stamps)  ## clang-tidy-19 on changed files, or on all with LINT_ALL=1
$(B)/tidy/%.ok: %.cc .clang-tidy
	@mkdir -p $(@D)
	$(call quiet,TIDY)clang-tidy-19 --quiet --warnings-as-errors='*' $< -- $(tidy_flags) \
	  2> >(grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -' >&2)
	@clang++-19 $(tidy_flags) -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@
tidy_flags = $(filter-out -g1 -O2 -MMD -MP,$(CXXFLAGS) $(CPPFLAGS))
-include $(tidy_stamps:.ok=.d)

format:  ## lay out changed files as .clang-format says
	@tests/lint/format.sh --fix

# --- Try it ------------------------------------------------------------------------------------------------------
.PHONY: run stop
run: tools  ## build, make an image, mount it at build/run/mnt, and say what to try
	@tools/run.sh start $(B)/bin

stop:  ## unmount what make run mounted
	@tools/run.sh stop $(B)/bin

# --- Measure -----------------------------------------------------------------------------------------------------
.PHONY: bench bench-sched bench-mem
bench: tools benches  ## all benchmarks of tests/bench; make bench-NAME runs tests/bench/NAME.sh
	@for program in $(BENCHES); do $$program || exit 1; done
	@for script in $(wildcard tests/bench/*.sh); do WEFT_BIN=$(CURDIR)/$(B)/bin bash $$script || exit 1; done

bench-sched: tests/bench/sched.sh $(SCHED_BENCHES)  ## the scheduler beside Boost.Fiber, oneTBB, Go and threads (QUICK=1: a look at whether it works)
	@bash $<

bench-mem: tests/bench/mem.sh $(PRELOADED) $(SHARED_MEM) $(TRACER)  ## the heap beside glibc's, jemalloc, mimalloc and tcmalloc (QUICK=1, ROUNDS, LOADS)
	@WEFT_BUILD=$(CURDIR)/$(B) bash $<

bench-%: tests/bench/%.sh tools benches
	@WEFT_BIN=$(CURDIR)/$(B)/bin bash $<

# --- Install -----------------------------------------------------------------------------------------------------
PREFIX ?= /usr/local
DESTDIR ?=
# mount(8) and fsck(8) look for their helpers here and nowhere else; HELPER_DIR= leaves the links out.
HELPER_DIR ?= /sbin
.PHONY: install install-sched uninstall
install_environment = PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' HELPER_DIR='$(HELPER_DIR)' BUILD='$(B)' VERSION='$(VERSION)'
install: tools libraries  ## install programs, libraries, headers, man pages (PREFIX, DESTDIR, HELPER_DIR)
	@$(install_environment) tools/install.sh install

install-sched: libraries  ## install the scheduler alone, as a library for other programs
	@$(install_environment) PART=sched tools/install.sh install

uninstall:  ## remove what install put there, with the same PREFIX, DESTDIR and HELPER_DIR
	@$(install_environment) tools/install.sh uninstall

# --- The rest ----------------------------------------------------------------------------------------------------
.PHONY: clean help
clean:  ## remove build/
	@if mountpoint -q build/run/mnt 2>/dev/null; then echo "build/run/mnt is mounted: make stop first" >&2; exit 1; fi
	rm -rf build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
