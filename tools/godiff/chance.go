package main

import (
	"math/rand"
	"sync"
	"sync/atomic"
	_ "unsafe" // for go:linkname
)

// globalRandGenerator is where math/rand keeps the generator of its functions, which the original uses for the jitter of all its
// pauses. It cannot be set otherwise, and not be seeded any more. The linker permits this with -checklinkname=0.
//
//go:linkname globalRandGenerator math/rand.globalRandGenerator
var globalRandGenerator atomic.Pointer[rand.Rand]

// chance is a source of random numbers for several tasks.
type chance struct {
	sync.Mutex
	source rand.Source64
}

func (c *chance) Int63() int64 { return int64(c.Uint64() >> 1) }

func (c *chance) Uint64() uint64 {
	c.Lock()
	defer c.Unlock()
	return c.source.Uint64()
}

func (c *chance) Seed(int64) {}

// none is a source of zeros: pauses without jitter.
type none struct{}

func (none) Int63() int64 { return 0 }

func (none) Uint64() uint64 { return 0 }

func (none) Seed(int64) {}

// seed begins the random numbers of a life.
func (w *world) seed(life int64) {
	var source rand.Source = none{}
	if w.Jitter {
		source = &chance{source: rand.NewSource(w.Seed + life<<32).(rand.Source64)}
	}
	globalRandGenerator.Store(rand.New(source))
}
