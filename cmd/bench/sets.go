package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"lifeboat/internal/s3model"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// file is one object of a source.
type file struct {
	key      string
	modified time.Time
	s3model.Derived
}

// set is the files of a made-up source. Their contents are unique and cannot be compressed.
type set struct {
	name  string
	about string
	files []file
}

func (s set) bytes() int64 {
	total := int64(0)
	for _, f := range s.files {
		total += f.Size
	}
	return total
}

// from returns the share of the bytes that lie in files of at least so many bytes.
func (s set) from(size int64) float64 {
	large := int64(0)
	for _, f := range s.files {
		if f.Size >= size {
			large += f.Size
		}
	}
	return float64(large) / float64(s.bytes())
}

func (s set) String() string {
	return fmt.Sprintf("set %s: %s, %d files, %.2f GB, %.0f %% of it in files of 5 MiB and more", s.name, s.about, len(s.files), float64(s.bytes())/1e9, 100*s.from(5*mib))
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func makeSet(name, about, ending string, sizes []int64) set {
	s := set{name: name, about: about}
	for i, size := range sizes {
		key := fmt.Sprintf("%02d/file-%05d.%s", i%24, i, ending)
		s.files = append(s.files, file{key: key, modified: epoch.Add(time.Duration(i) * time.Minute), Derived: s3model.Derived{Seed: seedOf(name, key, 0), Size: size}})
	}
	return s
}

// seedOf gives each version of each file contents of its own.
func seedOf(parts ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, parts...)
	return h.Sum64()
}

func equal(n int, size int64) []int64 {
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

func setI() set   { return makeSet("i", "5,000 × 20 KiB", "txt", equal(5000, 20*kib)) }
func setIII() set { return makeSet("iii", "4 × 1 GiB", "mov", equal(4, gib)) }

func setII() set {
	r := rand.New(rand.NewPCG(2, 2))
	sizes := make([]int64, 200)
	for i := range sizes {
		sizes[i] = 5*mib + r.Int64N(15*mib+1)
	}
	return makeSet("ii", "200 × 5 to 20 MiB", "jpg", sizes)
}

// The media host: sizes are log-normal between two bounds.
const (
	mediaFiles  = 1400
	mediaBytes  = 3 * gib
	mediaMedian = 400e3
	mediaSigma  = 1.8
	mediaLeast  = 64
	mediaMost   = 700 * mib
)

// setIV draws with seed after seed until the files have 3 GiB in all, give or take 2 %: so the seed is not chosen by
// how much of it lies in large files.
func setIV() set {
	for seed := uint64(1); ; seed++ {
		r := rand.New(rand.NewPCG(4, seed))
		sizes, total := make([]int64, mediaFiles), int64(0)
		for i := range sizes {
			drawn := int64(math.Exp(math.Log(mediaMedian) + mediaSigma*r.NormFloat64()))
			sizes[i] = min(max(drawn, mediaLeast), mediaMost)
			total += sizes[i]
		}
		if off := total - mediaBytes; max(off, -off) < mediaBytes/50 {
			return makeSet("iv", fmt.Sprintf("media host, log-normal sizes (median 400 kB, σ 1.8, seed %d)", seed), "bin", sizes)
		}
	}
}

// changed returns the set with a share of its files, at least one, written anew with the same sizes.
func (s set) changed(share float64) (next set, files []file) {
	r := rand.New(rand.NewPCG(7, uint64(len(s.files))))
	next = s
	next.files = append([]file{}, s.files...)
	for _, i := range r.Perm(len(s.files))[:max(1, int(math.Round(share*float64(len(s.files)))))] {
		f := &next.files[i]
		f.Seed, f.modified = seedOf(s.name, f.key, 1), f.modified.Add(240*time.Hour)
		files = append(files, *f)
	}
	return next, files
}
