// Package handover lets a gateway listen on the sockets of the one before it,
// while that one ends: no connection is refused in between, and none is lost
// that waits to be accepted. It is for what has no systemd to hold the sockets.
//
// The sockets are asked for at an abstract Unix address, the door, which is
// handed over with them. All processes of the network namespace reach it, as
// pods with host network do, so both sides prove that they can read the
// gateway's certificate and key, which only root of the node can, and the one
// who gives refuses other users.
//
// [Open] takes what the gateway before has, [Sockets.Listen] returns one of its
// sockets or makes a new one, [Sockets.Start] opens the door to the next
// gateway, and [Sockets.Close] ends that. It needs Linux.
package handover
