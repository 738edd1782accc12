# Weft - rough ground; the real Makefile replaces this.
CXX := $(if $(shell command -v ccache),ccache )g++
B := build/release
CXXFLAGS := -std=c++23 -O2 -g1 -Wall -Wextra -Wshadow -Wnon-virtual-dtor -I. -MMD -MP -ftls-model=initial-exec -pthread
LIBSRC := $(wildcard kernel/*.cc sched/*.cc mem/*.cc fs/*.cc fs/fuse/*.cc)
TOOLS := $(basename $(notdir $(filter-out tools/cli_%,$(wildcard tools/*_weft.cc tools/weft.cc))))
TESTSRC := $(wildcard tests/kernel/*_test.cc tests/sched/*_test.cc tests/fs/*_test.cc tests/tools/*_test.cc)
LIBOBJ := $(LIBSRC:%.cc=$(B)/%.o)
TESTOBJ := $(TESTSRC:%.cc=$(B)/%.o) $(patsubst %.cc,$(B)/%.o,$(wildcard tests/support/*.cc))
LDLIBS := -lfuse3 -luring -lboost_context -lisal -lfmt -lpthread
all: $(B)/libweft.a $(B)/unit_tests
$(B)/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c $< -o $@
$(B)/libweft.a: $(LIBOBJ)
	rm -f $@ && ar rcs $@ $^
$(B)/unit_tests: $(TESTOBJ) $(B)/libweft.a
	g++ $(TESTOBJ) $(B)/libweft.a -lgtest_main -lgtest $(LDLIBS) -o $@
test: all
	$(B)/unit_tests --gtest_brief=1
-include $(shell find build -name '*.d' 2>/dev/null)
