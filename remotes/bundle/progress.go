package bundle

// Progress is notified as a pull or a copy proceeds. Its methods are called by
// several goroutines at once.
type Progress interface {
	// Expect adds bytes to the expected total.
	Expect(bytes int64)
	// Member says that a member is being copied, or has arrived.
	Member(*Node)
}

// silent shows nothing.
type silent struct{}

func (silent) Expect(int64) {}

func (silent) Member(*Node) {}
