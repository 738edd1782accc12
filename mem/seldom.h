// mem/seldom.h - for large variables that few processes touch. Internal.
//
// The library for LD_PRELOAD puts them behind all others (by name of section: Makefile, mem/README.md "A small process"), so that what
// every process writes lies together.
#pragma once

// Of an array: its beginning is used by all.
#define WEFT_SELDOM_BEYOND_FIRST [[gnu::section(".bss.first")]]
#define WEFT_SELDOM [[gnu::section(".bss.seldom")]]
