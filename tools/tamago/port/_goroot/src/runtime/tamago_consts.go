//go:build tamago

package runtime

import hooks "runtime/goos"

// What runtime/goos decides at build time. Shared files multiply their own
// values by 1-isTamago and add these, so that other systems see no change.
const (
	isTamago                 = 1
	tamagoArenaBaseOffset    = hooks.ArenaBaseOffset
	tamagoHeapAddrBits       = hooks.HeapAddrBits
	tamagoLogHeapArenaBytes  = hooks.LogHeapArenaBytes
	tamagoLogPallocChunkPage = hooks.LogPallocChunkPages
	tamagoStackSystem        = hooks.StackSystem
)
