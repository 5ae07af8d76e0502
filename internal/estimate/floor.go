package estimate

import (
	"lifeboat/internal/failure"
	"lifeboat/internal/pack"
	"lifeboat/internal/vault"
)

// What the estimates assume of speed. None of it was measured on AWS.
const (
	DefaultMemory = 1769        // MB of a function: of those that package deployed lists, one processor
	PartBudget    = 9_500       // parts of an archive, of the 10,000: some are for literals and holes
	passRate      = 75_000_000  // bytes a second that pass through one function, in and out at the same time
	copyRate      = 150_000_000 // bytes a second of one copying request
	copies        = 64          // copying requests under way in one function: pack/gate.go, archive/assemble.go
	putSeconds    = 0.040       // until a request of the class PUT is answered
	getSeconds    = 0.020       // until a request of the class GET is answered
	reads         = 64          // small objects read at the same time by one function: pack/gate.go
)

// splicePack is how many spliced objects a pack holds at most: its upload has at least two parts for each, and one
// function copies them all.
const splicePack = 1_000

// noFiller is the floor where no small objects fill the parts of headers: every splice takes 5 MiB of the object with
// it, so that below 8 MiB hardly anything is saved.
const noFiller = 8 << 20

// Splice is what SpliceFloor decides by.
type Splice struct {
	Prefer   string // "cost" (default when empty) or "speed"
	Prices   Table
	MemoryMB int   // of a function; DefaultMemory when 0
	Filler   bool  // there are small objects to fill the parts of headers
	Sizes    Sizes // of the source; may be empty
	Parts    int64 // that packs of spliced objects may take in an archive; PartBudget when 0
}

// SpliceFloor returns from which size on, in bytes, objects are copied by the store rather than passed through
// functions. It is a pure function: it falls with memory, and rises with the price of requests, with the number of
// large objects, and as the parts get fewer. An unknown preference is Usage.
//
// To prefer speed is to copy whatever can be copied. To prefer cost is to copy from the break-even on (BreakEven),
// rounded up to a power of two so that a small change of prices does not move it. Both rise, by doubling, until the
// packs of spliced objects keep within the parts.
func SpliceFloor(s Splice) (int64, error) {
	floor := int64(vault.MinPart)
	if !s.Filler {
		floor = noFiller
	}
	switch s.Prefer {
	case "speed":
	case "", "cost":
		even := BreakEven(s.Prices, s.MemoryMB)
		for floor = noFiller; float64(floor) < even; floor *= 2 {
		}
	default:
		return 0, failure.New(failure.Usage, "%q is no preference", s.Prefer).WithHint("use cost or speed")
	}
	parts := s.Parts
	if parts <= 0 {
		parts = PartBudget
	}
	for s.Sizes.from(floor).Objects > parts*splicePack {
		floor *= 2
	}
	return floor, nil
}

// BreakEven returns the size, in bytes, from which on a splice is cheaper than to pass the object through a function
// of so many MB.
//
// A splice within a shared pack is two requests of the class PUT: the copying part, and the part with its header and
// filler. Meanwhile the function waits for the store, which copies the objects of a pack side by side. An object that passes through costs a GET, its share of the PUT
// of a pack, and the function's time:
//
//	2·put + size·wait = get + size·(put/pack + pass)
//	size = (2·put − get) / (put/pack + pass − wait)
//
// With the prices of us-east-1 and 1,769 MB: (2·5,000 − 400) nano-dollars / (149 + 307 − 19 nano-dollars a MB) = 22.0 MB,
// 20.9 MiB.
func BreakEven(t Table, memoryMB int) float64 {
	if memoryMB <= 0 {
		memoryMB = DefaultMemory
	}
	put, get := float64(t.Put)/1000, float64(t.Get)/1000
	second := float64(t.Compute) / 1000 * float64(memoryMB) / 1024
	return (2*put - get) / (put/pack.BatchBytes + second/passRate - second/(copyRate*spliceObjects))
}
