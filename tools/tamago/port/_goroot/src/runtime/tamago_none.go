//go:build !tamago

package runtime

const (
	isTamago                 = 0
	tamagoArenaBaseOffset    = 0
	tamagoHeapAddrBits       = 0
	tamagoLogHeapArenaBytes  = 0
	tamagoLogPallocChunkPage = 0
	tamagoStackSystem        = 0
)

// Only GOOS=tamago needs a heap before it can have random numbers.
func randinitBeforeMalloc() { randinit() }
func randinitAfterMalloc()  {}

func boardinit() {}
