//go:build tamago

// Package xenpvh is the TamaGo board for a Xen PVH guest on amd64: importing
// it gives the Go runtime its hooks (package runtime/goos of
// github.com/usbarmory/tamago), and New gives the program its platform: event
// channels, grants, xenstore, clocks, console and device registers.
//
// Build with GOOS=tamago GOARCH=amd64 GOOSPKG=github.com/usbarmory/tamago,
// tags linkcpuinit and tiny, linker flags -T 0x101000 -R 0x1000, and add the
// ELF note PHYS32_ENTRY; see boot/smoke/README.md.
//
// One processor, no interrupts. The program is an event loop that blocks in
// Channels.Wait; the runtime's idle hook blocks as well, so sleeping
// goroutines work, but a program that blocks in Wait blocks all of them.
//
// What the contract of package goos leaves to a board, and where it is met:
//
//   - RamStart, RamSize, RamStackOffset: set, and the first stack put there, before the
//     runtime is entered (boot/pvh, measure), as an allocator may end the heap at that stack.
//   - Memory that the runtime takes is zero: Hwinit0 clears it.
//   - Hwinit0, Nanotime and Printk may run without a heap: nosplit, no allocation, no pointer writes.
//   - InitRNG and GetRandomData do not allocate, whether they run before the heap exists or after.
//   - Exit and Idle are set in Hwinit0, before anything can fail or wait.
//   - Bloc is left alone; Task, Wake and ProcID are for more processors than one.
//
// The runtime hooks are the one place of the project with global state: the
// runtime calls them before a program has anything to hand over.
//
// Deliberately missing: more processors, save/restore, ballooning, boot
// modules (they would lie in the Go heap).
package xenpvh
