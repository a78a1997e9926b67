package doctor

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
)

// TestDoctorTellsWhatIsNotTheGateway has everything but the gateway at its address.
func TestDoctorTellsWhatIsNotTheGateway(t *testing.T) {
	plain := func(conn net.Conn) { fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n"); conn.Close() }
	for _, test := range []struct {
		name   string
		answer func(net.Conn) // nil: nobody listens
		want   string
	}{
		{"nobody", nil, "problem: the gateway is not running: nothing listens on ADDRESS; fix: systemctl restart nested-gateway.socket nested-gateway; journalctl -u nested-gateway says more"},
		{"plain http", plain, "problem: another process than the gateway listens on ADDRESS: *; fix: find the process with ss -ltnp * and stop it, or nestctl install with another --address"},
		{"silence", func(net.Conn) {}, "problem: the gateway on ADDRESS does not answer within 2s; fix: systemctl restart nested-gateway.socket nested-gateway; *"},
		{"hanging up", func(c net.Conn) { c.Close() }, "problem: the gateway on ADDRESS: *; fix: systemctl restart nested-gateway.socket nested-gateway; *"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			if test.answer == nil {
				listener.Close()
			} else {
				go accept(t, listener, test.answer)
			}
			checkOnly(t, listener.Addr().String(), test.want)
		})
	}
	t.Run("another gateway", func(t *testing.T) {
		other := healthy(t, installOn("reg.test"))
		checkOnly(t, other.address(), "problem: another process than the gateway listens on ADDRESS: *unknown authority*; fix: *")
	})
	t.Run("another client CA", func(t *testing.T) {
		n, other := healthy(t, installOn("reg.test")), healthy(t, installOn("reg.test"))
		clientCA := config.Default().Gateway.ClientCA
		n.Must(os.WriteFile(n.Path(clientCA), other.Read(clientCA), 0o644))
		if got := n.look(); !fits("problem: the gateway on * does not accept containerd's certificate: *; fix: nestctl install *\n", got) {
			t.Error(got)
		}
	})
	t.Run("no gateway's answer", func(t *testing.T) {
		n := newMachine(t, nil)
		o := installOn("reg.test")
		o.Address = n.Serve(http.NotFoundHandler())
		n.install(o)
		n.wantProblem(t, o.Address, "problem: another process than the gateway listens on ADDRESS: it answers 404; fix: *")
	})
}

func accept(t *testing.T, listener net.Listener, answer func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		answer(conn)
	}
}

// checkOnly installs for an address and looks at what is there.
func checkOnly(t *testing.T, address, want string) {
	n := newMachine(t, nil)
	o := installOn("reg.test")
	o.Address = address
	n.install(o)
	n.wantProblem(t, address, want)
}

func (n *machine) wantProblem(t *testing.T, address, want string) {
	found := load(Options{Root: n.Root, Config: config.Path, Now: n.now}).checkAnswers(t.Context())
	if len(found) != 1 || !fits(strings.ReplaceAll(want, "ADDRESS", address), found[0].String()) {
		t.Error(found)
	}
}
