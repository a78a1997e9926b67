package registrytest

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// drainTime bounds the wait for a client that does not read.
const drainTime = time.Second

// drain waits until the client's machine has all that was written: a reset
// throws away what has not been sent yet.
func drain(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(drainTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		waiting := 0
		if err = raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || waiting == 0 {
			return
		}
	}
}
