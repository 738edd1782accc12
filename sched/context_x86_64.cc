// sched/context_x86_64.cc - the switch of contexts on x86-64 (System V ABI), in assembler.
//
// Saves what a call preserves: rbx, rbp, r12 to r15, and the control words of x87 and SSE. Loading those two costs more than all
// the rest, so they are loaded only if they differ from what is set; the status bits of MXCSR do not belong to a fiber (the ABI
// lets any call change them). Leaves by `ret`, which is right about as often as fibers are left and entered in the same function:
// a jump instead leaves the call's entry on the processor's stack of return addresses, and all returns after it are predicted one
// off (21 ns for a yield instead of 13 on Zen 5).
//
//   frame at a saved stack pointer:  0 mxcsr, 4 x87 control word, 8 r12, 16 r13, 24 r14, 32 r15, 40 rbx, 48 rbp, 56 rip
//
// Tests: tests/sched/context_test.cc.
#if defined(__x86_64__)

asm(R"(
    .text
    .p2align 4
    .globl weft_sched_switch
    .hidden weft_sched_switch
    .type weft_sched_switch, @function
weft_sched_switch:
    .cfi_startproc
    pushq %rbp
    pushq %rbx
    pushq %r15
    pushq %r14
    pushq %r13
    pushq %r12
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %ecx
    movzwl 4(%rsp), %eax
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    xorl (%rsp), %ecx
    testl $0xffc0, %ecx
    jne 2f
1:  cmpw 4(%rsp), %ax
    jne 3f
4:  popq %r8
    popq %r12
    popq %r13
    popq %r14
    popq %r15
    popq %rbx
    popq %rbp
    movq %rdx, %rax
    ret
2:  ldmxcsr (%rsp)
    jmp 1b
3:  fldcw 4(%rsp)
    jmp 4b
    .cfi_endproc
    .size weft_sched_switch, . - weft_sched_switch

    .p2align 4
    .globl weft_sched_start
    .hidden weft_sched_start
    .type weft_sched_start, @function
weft_sched_start:
    .cfi_startproc
    .cfi_undefined rip
    movq %rax, %rdi
    movq %r13, %rsi
    call *%r12
    ud2
    .cfi_endproc
    .size weft_sched_start, . - weft_sched_start
)");

#endif
