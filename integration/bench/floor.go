package bench

import (
	"fmt"
	"strings"
	"time"
)

// Shape is how content lies in a registry, for the one who pulls it.
type Shape int

const (
	Nested   Shape = iota // an index whose members are in repositories of their own
	Anchored              // the same with all of it in one repository
	Members               // the members alone, without an index
)

func (s Shape) String() string { return [...]string{"nested", "one repository", "each member"}[s] }

// Content is what is pulled: each part counted once, however often it is pointed to.
type Content struct {
	Levels  int   // indexes on the way from the root to a member
	Indexes int   // all indexes, the root included; each is in a repository of its own
	Members int   // image manifests, each in a repository of its own
	Blobs   int   // configurations and layers
	Bytes   int64 // of all that
	Root    int64 // of the root alone
}

// Floor is the least that a pull can come to.
type Floor struct {
	Wall              time.Duration
	RoundTrips        int // one after the other
	Requests          int // tokens and the refusal that brings the challenge included
	Tokens, Handshake int
	Bytes             int64
	way               string // what the round trips are for
}

// step is a part of the way that nothing can be done beside, in round trips.
type step struct {
	name  string
	trips int
}

// path is the longest way to a layer over TLS 1.3, at a registry that hands out tokens itself.
func (s Shape) path(c Content) []step {
	steps := []step{{"the connection", 1}, {"TLS", 1}, {"the challenge", 1}, {"a token", 1}}
	switch s {
	case Nested:
		steps = append(steps, step{"indexes", c.Levels}, step{"members' tokens", c.Levels})
	case Anchored:
		steps = append(steps, step{"indexes", c.Levels})
	}
	return append(steps, step{"manifests", 1}, step{"blobs", 1})
}

// Floor computes what a pull of content needs over a link.
func (s Shape) Floor(c Content, over Speed) Floor {
	f := Floor{Handshake: 1, Bytes: c.Bytes}
	var names []string
	for _, step := range s.path(c) {
		f.RoundTrips += step.trips
		names = append(names, fmt.Sprintf("%d for %s", step.trips, step.name))
	}
	f.way = fmt.Sprintf("%d round trips (%s)", f.RoundTrips, strings.Join(names, ", "))
	indexes := c.Indexes
	switch s {
	case Nested:
		f.Tokens = c.Indexes + c.Members
	case Anchored:
		f.Tokens = 1
	case Members:
		f.Tokens, indexes = c.Members, 0
		f.Bytes -= c.Root
	}
	f.Requests = 1 + f.Tokens + indexes + c.Members + c.Blobs
	f.Wall = time.Duration(f.RoundTrips) * over.RoundTrip
	if over.BytesPerSecond > 0 {
		f.Wall += time.Duration(float64(f.Bytes) / float64(over.BytesPerSecond) * float64(time.Second))
		f.way += " and the bytes"
	}
	return f
}
