package bundle

// Progress is told how far a pull or a copy is. Its methods are called by
// several goroutines at once.
type Progress interface {
	// Expect adds bytes to those that will be brought.
	Expect(bytes int64)
	// Member says that a member is being put, or has arrived.
	Member(*Node)
}

// silent shows nothing.
type silent struct{}

func (silent) Expect(int64) {}

func (silent) Member(*Node) {}
