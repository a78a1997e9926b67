// Package handover lets a gateway take over the sockets of the one before it,
// while that one ends. No connection is refused in between, and none that waits
// to be accepted is lost. It is for nodes where systemd does not hold the
// sockets.
//
// The sockets are passed through a control socket, at an abstract Unix address,
// which is handed over with them. All processes of the network namespace can
// connect to it, as can pods with host network. So both sides prove that they
// can read the gateway's certificate and key, which only root of the node can,
// and the side that gives refuses other users.
//
// [Open] takes the sockets of the gateway before, [Sockets.Listen] returns one
// of them or makes a new one, [Sockets.Start] serves the control socket for the
// next gateway, and [Sockets.Close] ends that. Package daemon uses it. It needs
// Linux.
package handover
