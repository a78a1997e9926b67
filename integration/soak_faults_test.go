package integration

import (
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
)

// faults is a random program of faults before a registry and its token server. All of them are such that the same
// request again is answered.
type faults struct {
	realm string // in the challenges that it makes up

	mu     sync.Mutex
	random *rand.Rand
	share  float64 // of the requests, that meet with a fault
	counts map[string]int
}

func newFaults(seed uint64) *faults {
	return &faults{random: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}}
}

// set says which part of the requests meets with a fault from now on.
func (f *faults) set(share float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.share = share
}

// fault answers a request in the place of next, or lets next answer and harms that.
type fault struct {
	name    string
	harm    func(f *faults, w http.ResponseWriter, r *http.Request, next http.Handler)
	applies func(r *http.Request) bool // nil: to all
}

var faultKinds = []fault{
	{name: "reset", harm: func(_ *faults, w http.ResponseWriter, _ *http.Request, _ http.Handler) { resetConnection(w) }},
}

// before returns a handler that is behind the program.
func (f *faults) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k := f.next(r); k != nil {
			k.harm(f, w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// next draws the fault of a request, nil for most.
func (f *faults) next(r *http.Request) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.Float64() >= f.share {
		return nil
	}
	k := &faultKinds[f.random.IntN(len(faultKinds))]
	if k.applies != nil && !k.applies(r) {
		return nil
	}
	f.counts[k.name]++
	return k
}

// resetConnection ends a connection as a host does that has lost it.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
