# sched/weft-gdb.py - shows gdb the fibers of a program that uses Weft's scheduler: a living process or a core.
#
#   (gdb) source weft-gdb.py      installed as PREFIX/share/weft/weft-gdb.py; with PREFIX=/usr and the shared library not needed
#   (gdb) weft fibers             all fibers: state, what each waits for, where
#   (gdb) weft bt 17              the backtrace of a fiber, by its number or name; "weft bt all": of every one
#
# Needs no debug information of the library, only its symbol weft_sched_layout: a table of where things lie (sched/runtimes.cc).
# Writes nothing to the process and calls nothing in it. A parked fiber is unwound by an unwinder that, once, gives its saved
# registers as the callers' of the innermost frame of the selected thread; gdb then goes on as it does with any frame.
# Python 3.6 or newer, gdb 10 or newer. Tests: tests/sched/gdb_test.cc.
import struct

import gdb
import gdb.unwinder

STATES = ["queued", "running", "parked", "ended"]
VERSION = 1
WORDS = (
    "version first_runtime scheduler_next scheduler_name scheduler_pool scheduler_workers "
    "pool_slabs slab_next slab_fibers slab_fiber_count fiber_bytes "
    "fiber_id fiber_name fiber_phase fiber_references fiber_reason fiber_waits_for fiber_stack_pointer fiber_spawned_by "
    "worker_current worker_thread_id saved_frame_pointer saved_pc saved_bytes"
).split()


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(address):
    return struct.unpack("Q", memory(address, 8))[0]


def number32(address):
    return struct.unpack("I", memory(address, 4))[0]


def text(address, most=256):
    if address == 0:
        return ""
    found = b""
    while len(found) < most:
        byte = memory(address + len(found), 1)
        if byte == b"\0":
            break
        found += byte
    return found.decode("utf-8", "backslashreplace")


class Layout:
    def __init__(self):
        try:
            at = int(gdb.parse_and_eval("(unsigned long)&weft_sched_layout"))
        except gdb.error:
            raise gdb.GdbError("this program has no symbol weft_sched_layout: it does not use Weft's scheduler, or is stripped")
        for index, name in enumerate(WORDS):
            setattr(self, name, word(at + 8 * index))
        if self.version != VERSION:
            raise gdb.GdbError("this script is of another version than the program's scheduler (%d)" % self.version)


class Fiber:
    def __init__(self, layout, runtime, address):
        self.runtime = runtime
        self.id = word(address + layout.fiber_id)
        self.name = text(address + layout.fiber_name, 32)
        phase = memory(address + layout.fiber_phase, 1)[0]
        self.state = STATES[phase] if phase < len(STATES) else "?"
        self.reason = text(word(address + layout.fiber_reason)) if self.state == "parked" else ""
        self.waits_for = word(address + layout.fiber_waits_for) if self.state == "parked" else 0
        self.stack_pointer = word(address + layout.fiber_stack_pointer)
        self.spawned_by = word(address + layout.fiber_spawned_by)
        self.thread = None  # that runs it
        self.covered = self.reason.startswith("join (runs it)")

    def line(self):
        line = 'fiber %d "%s" %s' % (self.id, self.name, self.state)
        if self.reason:
            line += " (%s%s)" % (self.reason, " 0x%x" % self.waits_for if self.waits_for else "")
        if self.thread is not None:
            line += " on thread %d" % self.thread.num
        if self.spawned_by:
            line += ", spawned by %d" % self.spawned_by
        return line


class Runtime:
    def __init__(self, layout, address):
        self.name = text(word(address + layout.scheduler_name))
        self.fibers = []
        threads = {thread.ptid[1]: thread for thread in gdb.selected_inferior().threads()}
        running = {}
        first = word(address + layout.scheduler_workers)
        last = word(address + layout.scheduler_workers + 8)
        for at in range(first, last, 8):  # of a vector of unique_ptr
            worker = word(at)
            current = word(worker + layout.worker_current)
            if current:
                running[current] = threads.get(number32(worker + layout.worker_thread_id))
        slab = word(word(address + layout.scheduler_pool) + layout.pool_slabs)
        while slab:
            for index in range(layout.slab_fiber_count):
                fiber_at = slab + layout.slab_fibers + index * layout.fiber_bytes
                if number32(fiber_at + layout.fiber_references) == 0:
                    continue
                fiber = Fiber(layout, self, fiber_at)
                if fiber.state == "ended":
                    continue
                if fiber_at in running:
                    fiber.state = "running"
                    fiber.thread = running[fiber_at]
                self.fibers.append(fiber)
            slab = word(slab + layout.slab_next)
        self.fibers.sort(key=lambda fiber: fiber.id)


def runtimes(layout):
    found = []
    address = word(layout.first_runtime)
    while address:
        found.append(Runtime(layout, address))
        address = word(address + layout.scheduler_next)
    return found


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class FiberUnwinder(gdb.unwinder.Unwinder):
    """Gives the registers of `target`, (pc, sp, fp), as those of the innermost frame's caller."""

    NAMES = {
        "i386:x86-64": ("rip", "rsp", "rbp"),
        "aarch64": ("pc", "sp", "x29"),
    }

    def __init__(self):
        super().__init__("weft-fiber")
        self.target = None

    def __call__(self, pending):
        if self.target is None:
            return None
        names = self.NAMES.get(pending.architecture().name())
        if names is None:
            return None
        target, self.target = self.target, None  # the innermost frame is the first that is asked about
        word_type = gdb.lookup_type("unsigned long")
        # As if it lay on the fiber's stack, below: gdb ends a backtrace whose frames go down.
        here_sp = gdb.Value(target[1] - 16).cast(word_type).cast(pending.read_register(names[1]).type)
        info = pending.create_unwind_info(FrameId(here_sp, pending.read_register(names[0])))
        for name, value in zip(names, target):
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(word_type).cast(kind))
        return info


unwinder = FiberUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def backtrace_of(layout, fiber):
    if fiber.thread is not None:
        before = gdb.selected_thread()
        fiber.thread.switch()
        lines = gdb.execute("bt", to_string=True).splitlines()
        before.switch()
        return lines
    if fiber.state != "parked":
        return ["has not begun, or is between two workers"]
    if fiber.covered:
        return ["runs the fiber it joins on its own stack: see that one"]
    if layout.saved_bytes == 0 or fiber.stack_pointer == 0:
        return ["no saved registers are known"]
    at = fiber.stack_pointer
    gdb.invalidate_cached_frames()
    unwinder.target = (word(at + layout.saved_pc), at + layout.saved_bytes, word(at + layout.saved_frame_pointer))
    try:
        lines = gdb.execute("bt", to_string=True).splitlines()
    finally:
        unwinder.target = None
        gdb.invalidate_cached_frames()
    return [line for line in lines if not line.startswith("#0 ")]


class WeftCommand(gdb.Command):
    """Fibers of Weft's scheduler: "weft fibers", "weft bt FIBER"."""

    def __init__(self):
        super().__init__("weft", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class WeftFibers(gdb.Command):
    """weft fibers: lists the fibers of all runtimes."""

    def __init__(self):
        super().__init__("weft fibers", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found = runtimes(Layout())
        if not found:
            print("no runtime lives")
        for runtime in found:
            print('runtime "%s": %d fibers' % (runtime.name, len(runtime.fibers)))
            for fiber in runtime.fibers:
                print("  " + fiber.line())


class WeftBacktrace(gdb.Command):
    """weft bt FIBER: the backtrace of the fiber of that number or name, or of "all"."""

    def __init__(self):
        super().__init__("weft bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted = argument.strip().strip('"')
        if not wanted:
            raise gdb.GdbError("which fiber? weft bt NUMBER, NAME or all")
        layout = Layout()
        found = False
        for runtime in runtimes(layout):
            for fiber in runtime.fibers:
                if wanted not in ("all", str(fiber.id), fiber.name):
                    continue
                found = True
                print(fiber.line())
                for line in backtrace_of(layout, fiber):
                    print("  " + line)
        if not found:
            raise gdb.GdbError("no fiber has that number or name")


WeftCommand()
WeftFibers()
WeftBacktrace()
